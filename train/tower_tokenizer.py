"""The tokenizer that a text tower was trained with, as what a bundle keeps: found as open_clip finds it.

CLIP's own is made from the file inside open_clip. A tower whose configuration names another one (SigLIP, CLIPA, the
multilingual ones) needs its `tokenizer.json`: from a file that is given, from the folder of the model, or from the
Hugging Face hub. The ids are open_clip's, `transformers` is not needed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import open_clip
import tokenizers

from ..runtime.bundle import NewTokenizer
from ..runtime.errors import OptionError
from ..runtime.spec import CLEANINGS
from ..runtime.tokenizer import Tokenizer
from .config import ModelConfig
from .hub import hub_file
from .tokenizer_json import clip_tokenizer_json

__all__ = ["TextConfig", "model_tokenizer", "text_config", "tokenizer_of", "tower_tokenizer"]

_FILE = "tokenizer.json"
_SETTINGS = "tokenizer_config.json"  # beside it; alone says which token pads
_CLIP_ROWS = 49408
_FEWEST_IDS = 0.9  # of a tower's rows; vocabularies are rounded up to whole blocks, but not by more
_WAY_OUT = "give it with weaksvr-export --tokenizer FILE or weaksvr-train --set model.tokenizer=FILE"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """What open_clip's configuration of a model says about its texts.

    Attributes:
        model: what errors call the model.
        context_length: L, tokens a text.
        num_rows: rows of the token table; 0 where the configuration does not say.
        source: repository on the hub that holds the tokenizer; empty for CLIP's own.
        folder: holds the tokenizer instead of the hub, for a model from a folder.
        options: what open_clip passes to its tokenizer.
        mode: open_clip's mode of the tokenizer; empty for the usual one.
    """

    model: str
    context_length: int
    num_rows: int
    source: str
    folder: Path | None
    options: Mapping[str, Any]
    mode: str


def text_config(model: str) -> TextConfig:
    """Read the text side of a model's configuration.

    Args:
        model: open_clip architecture name, `local-dir:FOLDER` or `hf-hub:NAME`.

    Raises:
        OptionError: if open_clip does not know the model, or finds no configuration for it.
    """
    try:
        config = open_clip.get_model_config(model)
    except (OSError, ValueError, AttributeError) as error:  # the hub's errors are OSErrors
        raise OptionError(f"{model}: its configuration cannot be read: {_first_line(error)}") from error
    if config is None:
        raise OptionError(f"{model!r} is not an open_clip model; see open_clip.list_models()")
    schema, name = open_clip.factory.parse_model_name(model)
    text = config.get("text_cfg") if isinstance(config, dict) else None
    if not isinstance(text, dict):
        raise OptionError(f"{model}: its configuration does not say anything about texts (text_cfg)")
    source = text.get("hf_tokenizer_name", "")
    if not source and schema is None and "siglip" in name.lower():
        raise OptionError(f"{model}: does not say which SigLIP tokenizer it needs (hf_tokenizer_name)")
    return TextConfig(
        model=model,
        context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        num_rows=0 if "hf_model_name" in text else text.get("vocab_size", _CLIP_ROWS),
        source=source,
        folder=Path(name) if schema == "local-dir" else None,
        options=text.get("tokenizer_kwargs", {}),
        mode=text.get("tokenizer_mode") or "",
    )


def tower_tokenizer(config: TextConfig, *, file: Path | None = None) -> NewTokenizer:
    """The tokenizer of a tower.

    Args:
        config: see `text_config`.
        file: a `tokenizer.json`; needed where the hub cannot be reached. Its `tokenizer_config.json` belongs beside
            it.

    Raises:
        OptionError: if there is none, it does not fit the tower, or cannot be kept in a bundle.
    """
    _refuse_unknown_options(config)
    cleaning = config.options.get("clean", "whitespace" if config.source else "lower")
    if not config.source:
        if file is not None:
            raise OptionError(f"{config.model} uses CLIP's tokenizer, which needs no file; leave the tokenizer out")
        if config.num_rows < _CLIP_ROWS:
            raise OptionError(f"{config.model}: its text tower has {config.num_rows} rows, CLIP needs {_CLIP_ROWS}")
        data = clip_tokenizer_json(context_length=config.context_length).encode()
        return NewTokenizer(context_length=config.context_length, cleaning=cleaning, data=data)
    path, settings = _find(config, file)
    encoder = _read_encoder(path)
    sides = {key: settings.get(f"{key}_side", "right") for key in ("padding", "truncation")}
    pad_token = _pad_token(encoder, settings, path)
    pad_id = encoder.token_to_id(pad_token)
    if pad_id is None:
        raise OptionError(f"{path}: does not know the token {pad_token!r}, which {_SETTINGS} pads with")
    _refuse_misfit(config, encoder, path)
    encoder.enable_truncation(config.context_length, direction=sides["truncation"])
    encoder.enable_padding(length=config.context_length, pad_id=pad_id, pad_token=pad_token, direction=sides["padding"])
    return NewTokenizer(
        context_length=config.context_length,
        cleaning=cleaning,
        zeroed_id=_separator_id(encoder, settings, path) if config.options.get("strip_sep_token") else None,
        data=encoder.to_str().encode(),
    )


def model_tokenizer(settings: ModelConfig, *, file: Path | None = None) -> NewTokenizer | None:
    """The tokenizer that a run makes its texts into tokens with; None where it has no texts.

    Args:
        settings: of the run.
        file: `tokenizer.json`; None takes the one that the settings name.

    Raises:
        OptionError: if the text tower has a tokenizer of its own that is not at hand, or a file is given without one.
    """
    if settings.text == "none":
        if file is not None:
            raise OptionError(f"{file}: the model has no text tower, so no tokenizer belongs to it; leave it out")
        return None
    kept = Path(settings.tokenizer) if settings.tokenizer else None
    return tower_tokenizer(text_config(settings.clip), file=file or kept)


@overload
def tokenizer_of(new: NewTokenizer) -> Tokenizer: ...


@overload
def tokenizer_of(new: NewTokenizer | None) -> Tokenizer | None: ...


def tokenizer_of(new: NewTokenizer | None) -> Tokenizer | None:
    """What the runtime makes of it; None of none. Raises `BundleIntegrityError` if its file is of no use."""
    if new is None:
        return None
    return Tokenizer.from_json(
        new.data.decode(), context_length=new.context_length, cleaning=new.cleaning, zeroed_id=new.zeroed_id
    )


def _refuse_unknown_options(config: TextConfig) -> None:
    if config.mode:
        raise OptionError(f"{config.model}: its tokenizer has the mode {config.mode!r}, which cannot be exported")
    unknown = sorted(set(config.options) - {"clean", "strip_sep_token"})
    if unknown:
        raise OptionError(f"{config.model}: its tokenizer has the option {unknown[0]!r}, which cannot be exported")
    cleaning = config.options.get("clean", "lower")
    if cleaning not in CLEANINGS:
        raise OptionError(f"{config.model}: its texts are cleaned by {cleaning!r}, which is not known")


def _find(config: TextConfig, file: Path | None) -> tuple[Path, Mapping[str, Any]]:
    """The file and the settings beside it; empty where there are none beside a given file."""
    if file is None and config.folder is None:
        path, beside = _from_hub(config, _FILE), _from_hub(config, _SETTINGS)
    else:
        path = file if file is not None else (config.folder or Path()) / _FILE
        beside = path.parent / _SETTINGS
        if not path.is_file():
            raise OptionError(f"{path}: no such file, and {config.model} has a tokenizer of its own; {_WAY_OUT}")
        if not beside.is_file():
            return path, {}
    try:
        settings = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{beside}: cannot be read as JSON: {_first_line(error)}") from error
    if not isinstance(settings, dict):
        raise OptionError(f"{beside}: must hold a JSON object")
    return path, settings


def _from_hub(config: TextConfig, name: str) -> Path:
    try:
        return hub_file(config.source, name)
    except OptionError as error:
        raise OptionError(f"{config.model} has a tokenizer of its own, but {error}; {_WAY_OUT}") from error


def _read_encoder(path: Path) -> tokenizers.Tokenizer:
    try:
        encoder = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # what `tokenizers` raises is a plain Exception, whatever is wrong
        raise OptionError(f"{path}: is not a tokenizer file: {_first_line(error)}") from error
    encoder.no_truncation()
    if not encoder.encode("").ids:
        raise OptionError(f"{path}: adds no end token to a text, so it is not a text tower's tokenizer")
    return encoder


def _pad_token(encoder: tokenizers.Tokenizer, settings: Mapping[str, Any], path: Path) -> str:
    """What the settings say, else the file itself, else (with settings, which then mean the usual) the usual token."""
    named = _token(settings.get("pad_token"))
    if named is not None:
        return named
    if encoder.padding is not None:
        return str(encoder.padding["pad_token"])
    special = {token.content for token in encoder.get_added_tokens_decoder().values() if token.special}
    usual = special & {"<pad>", "[PAD]"}
    if settings and len(usual) == 1:
        return usual.pop()
    raise OptionError(f"{path}: does not say which token pads a text; put the {_SETTINGS} of the same model beside it")


def _separator_id(encoder: tokenizers.Tokenizer, settings: Mapping[str, Any], path: Path) -> int:
    found = encoder.token_to_id(_token(settings.get("sep_token")) or "[SEP]")
    if found is None:
        raise OptionError(f"{path}: has no separator token, which the model's texts are to be without")
    return int(found)


def _token(value: Any) -> str | None:
    """A token as it stands in the settings: a text, or an object that holds it."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _refuse_misfit(config: TextConfig, encoder: tokenizers.Tokenizer, path: Path) -> None:
    """Refuse the vocabulary of another tower, whose ids would mean something else or nothing."""
    if not config.num_rows:
        return
    num_ids = max(encoder.get_vocab(with_added_tokens=True).values()) + 1
    if not _FEWEST_IDS * config.num_rows <= num_ids <= config.num_rows:
        raise OptionError(
            f"{path}: has {num_ids} ids, but the text tower of {config.model} has {config.num_rows} rows; "
            "this is the tokenizer of another model"
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
