"""The step types of the workbench and the sentences that describe them."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = ["NUM_SLOTS", "STEP_NAMES", "STEP_TYPES", "SplitName", "StepType", "wordings_of"]

SplitName = Literal["train", "val", "test"]

NUM_SLOTS = 3
"""How often a workpiece can be worked on: nails in the block, stains on the tile, and so on."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StepType:
    """One kind of action.

    Attributes:
        name: identifier, the same in drawings, motions and boundary files.
        train_wordings: sentences used in train (and now and then elsewhere).
        kept_wordings: sentences that only val and test use.
    """

    name: str
    train_wordings: tuple[str, str, str, str]
    kept_wordings: tuple[str, str]


STEP_TYPES: tuple[StepType, ...] = (
    StepType(
        name="hammer",
        train_wordings=("hammer a nail", "drive in a nail", "hit the nail with the hammer", "nail the block"),
        kept_wordings=("knock in a nail", "use the hammer on a nail"),
    ),
    StepType(
        name="sponge",
        train_wordings=("wipe the tile", "clean the tile with the sponge", "wipe off a stain", "sponge the tile"),
        kept_wordings=("use the sponge", "wipe the stain with a sponge"),
    ),
    StepType(
        name="screwdriver",
        train_wordings=("turn a screw", "drive in a screw", "use the screwdriver", "screw the plate down"),
        kept_wordings=("turn the screw with the screwdriver", "fasten a screw"),
    ),
    StepType(
        name="scissors",
        train_wordings=("cut the strip", "cut the paper with scissors", "snip the paper strip", "use the scissors"),
        kept_wordings=("cut paper", "snip with the scissors"),
    ),
    StepType(
        name="ruler",
        train_wordings=("measure the board", "measure with the ruler", "lay the ruler on the board", "use the ruler"),
        kept_wordings=("take a measure with the ruler", "mark the board by ruler"),
    ),
    StepType(
        name="bottle",
        train_wordings=("pour into the bowl", "pour from the bottle", "fill the bowl", "tip the bottle"),
        kept_wordings=("pour liquid from the bottle", "fill up the bowl from a bottle"),
    ),
    StepType(
        name="stamp",
        train_wordings=("stamp the card", "press the stamp", "put a stamp on the card", "mark the card"),
        kept_wordings=("use the stamp on the card", "stamp it"),
    ),
    StepType(
        name="burner",
        train_wordings=("light a candle", "use the burner", "light a wick", "burn the candle with the burner"),
        kept_wordings=("light the candle", "set fire to a wick with the burner"),
    ),
    StepType(
        name="gear",
        train_wordings=("put a gear in the tray", "place a gear", "insert a gear", "add a gear to the tray"),
        kept_wordings=("set a gear into the tray", "lay down a gear"),
    ),
    StepType(
        name="brush",
        train_wordings=("paint the plate", "brush paint on the plate", "use the brush", "paint a stripe"),
        kept_wordings=("apply paint with the brush", "brush the plate"),
    ),
    StepType(
        name="tape",
        train_wordings=("tape the box", "seal the box with tape", "put tape on the box", "stick on tape"),
        kept_wordings=("close the box with tape", "use the tape"),
    ),
    StepType(
        name="wrench",
        train_wordings=("tighten a bolt", "turn the bolt with the wrench", "use the wrench", "wrench the bolt tight"),
        kept_wordings=("tighten it with the wrench", "turn a bolt"),
    ),
    StepType(
        name="saw",
        train_wordings=("saw the plank", "saw into the wood", "use the saw", "cut wood with the saw"),
        kept_wordings=("saw the wood", "make a cut with the saw"),
    ),
    StepType(
        name="drill",
        train_wordings=("drill a hole", "use the drill", "drill into the block", "make a hole with the drill"),
        kept_wordings=("bore a hole", "drill the block"),
    ),
    StepType(
        name="iron",
        train_wordings=("iron the cloth", "press the cloth with the iron", "use the iron", "smooth the towel"),
        kept_wordings=("iron the towel", "smooth the cloth with the iron"),
    ),
    StepType(
        name="magnifier",
        train_wordings=("inspect a coin", "look through the magnifier", "check the coins", "use the magnifier"),
        kept_wordings=("inspect with the magnifier", "look closely at a coin"),
    ),
    StepType(
        name="roller",
        train_wordings=("roll out the dough", "flatten the dough", "use the roller", "roll the dough flat"),
        kept_wordings=("flatten dough with the roller", "press the dough with the roller"),
    ),
    StepType(
        name="spray",
        train_wordings=("spray the plant", "water the plant", "use the spray bottle", "spray the leaves"),
        kept_wordings=("mist the plant", "spray water on the plant"),
    ),
)

STEP_NAMES: tuple[str, ...] = tuple(step.name for step in STEP_TYPES)


def wordings_of(step: StepType, *, split: SplitName) -> tuple[str, ...]:
    """Sentences that may describe `step` in a split: val and test have the kept ones and two of train's four.

    Args:
        step: the step type.
        split: which split the video belongs to.
    """
    if split == "train":
        return step.train_wordings
    return step.kept_wordings + step.train_wordings[:2]
