from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
from weaksvr.runtime.errors import OptionError
from weaksvr.train.config import override
from weaksvr.train.presets import preset
from weaksvr.train.tower_tokenizer import TextConfig, model_tokenizer, text_config, tokenizer_of, tower_tokenizer

KINDS = ("unigram", "word_piece", "byte_pairs")
FOLDER = Path(__file__).parent / "hf_tokenizers"
STEPS = ["take the cup", "pour water"]


def expected(kind):
    return json.loads((FOLDER / kind / "expected.json").read_text(encoding="utf-8"))


def config_of(kind, **changes):
    known = expected(kind)
    values = {
        "model": "a-model",
        "context_length": known["context_length"],
        "num_rows": known["num_ids"],
        "source": "some/where",
        "folder": None,
        "options": known["options"],
        "mode": "",
    }
    return TextConfig(**{**values, **changes})


def copied(kind, folder, **settings):
    """The tokenizer's files in a folder of its own, its settings replaced where some are given."""
    shutil.copytree(FOLDER / kind, folder)
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_those_open_clip_was_recorded_with(kind):
    tokenizer = tokenizer_of(tower_tokenizer(config_of(kind), file=FOLDER / kind / "tokenizer.json"))
    rows = expected(kind)["ids"]
    assert len(rows) > 15
    for row in rows:
        assert tokenizer([row["text"]])[0].tolist() == row["ids"], ascii(row["text"][:80])


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_is_what_open_clip_gives(kind):
    pytest.importorskip("transformers")
    known = expected(kind)
    reference = open_clip.tokenizer.HFTokenizer(
        str(FOLDER / kind), context_length=known["context_length"], **known["options"]
    )
    assert reference([row["text"] for row in known["ids"]]).tolist() == [row["ids"] for row in known["ids"]]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that holds one repository, in its own cache, and cannot be reached beyond that."""
    snapshot = tmp_path / "models--timm--ViT-B-16-SigLIP" / "snapshots" / ("a" * 40)
    copied("unigram", snapshot)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_tower_takes_its_tokenizer_from_the_hub(hub):
    config = config_of("unigram", source="timm/ViT-B-16-SigLIP")
    rows = expected("unigram")["ids"]
    found = tokenizer_of(tower_tokenizer(config))([row["text"] for row in rows])
    np.testing.assert_array_equal(found, [row["ids"] for row in rows])


def test_without_the_hub_a_file_is_asked_for(hub):
    (hub / "tokenizer.json").unlink()
    with pytest.raises(OptionError, match=r"SigLIP has a tokenizer of its own, but tokenizer\.json of timm/") as caught:
        tower_tokenizer(text_config("ViT-B-16-SigLIP"))
    assert str(caught.value).endswith(
        "give it with weaksvr-export --tokenizer FILE or weaksvr-train --set model.tokenizer=FILE"
    )
    assert "\n" not in str(caught.value)


def test_the_tokenizer_of_another_model_is_refused(hub):
    with pytest.raises(OptionError, match=r"has 55 ids, but the text tower of ViT-B-16-SigLIP has 32000 rows; this is"):
        tower_tokenizer(text_config("ViT-B-16-SigLIP"))


@pytest.mark.parametrize("change", [-1, 1000])
def test_ids_that_do_not_fit_the_rows_are_refused(change):
    config = config_of("unigram", num_rows=expected("unigram")["num_ids"] + change)
    with pytest.raises(OptionError, match="this is the tokenizer of another model"):
        tower_tokenizer(config, file=FOLDER / "unigram/tokenizer.json")


def test_a_folder_holds_its_own(tmp_path):
    copied("word_piece", tmp_path / "model")
    known = expected("word_piece")
    text = {
        "context_length": 16,
        "vocab_size": known["num_ids"],
        "hf_tokenizer_name": "some/where",
        "tokenizer_kwargs": known["options"],
    }
    (tmp_path / "model/open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": text}}))
    tokenizer = tokenizer_of(tower_tokenizer(text_config(f"local-dir:{tmp_path / 'model'}")))
    assert tokenizer([known["ids"][4]["text"]])[0].tolist() == known["ids"][4]["ids"]


@pytest.mark.parametrize(
    ("name", "cleaning", "rows", "length"),
    [
        ("ViT-B-16-SigLIP", "canonicalize", 32000, 64),
        ("ViT-L-14-CLIPA", "whitespace", 32000, 32),
        ("ViT-B-32", "lower", 49408, 77),
    ],
)
def test_what_published_configurations_say(name, cleaning, rows, length):
    config = text_config(name)
    assert (config.num_rows, config.context_length) == (rows, length)
    if config.source:
        changed = TextConfig(**{**vars_of(config), "num_rows": 0})
        new = tower_tokenizer(changed, file=FOLDER / "word_piece/tokenizer.json")
        assert (new.zeroed_id == 3) == (name == "ViT-L-14-CLIPA")
    else:
        new = tower_tokenizer(config)
        np.testing.assert_array_equal(tokenizer_of(new)(STEPS), open_clip.get_tokenizer(name)(STEPS).numpy())
    assert (new.cleaning, new.context_length) == (cleaning, length)


def vars_of(config):
    return {name: getattr(config, name) for name in type(config).__dataclass_fields__}


def test_a_run_uses_the_file_of_its_settings():
    file = FOLDER / "unigram/tokenizer.json"
    config = override(preset("paper"), ["model.clip=ViT-B-16-SigLIP", f"model.tokenizer={file}"])
    with pytest.raises(OptionError, match=r"unigram/tokenizer\.json: has 55 ids"):
        model_tokenizer(config.model)
    with pytest.raises(OptionError, match=r"word_piece/tokenizer\.json: has \d+ ids"):
        model_tokenizer(config.model, file=FOLDER / "word_piece/tokenizer.json")


def test_clip_needs_no_file():
    with pytest.raises(OptionError, match="ViT-B-32 uses CLIP's tokenizer, which needs no file"):
        tower_tokenizer(text_config("ViT-B-32"), file=FOLDER / "unigram/tokenizer.json")


def test_too_few_rows_for_clip():
    with pytest.raises(OptionError, match="its text tower has 1000 rows, CLIP needs 49408"):
        tower_tokenizer(config_of("unigram", source="", options={}, num_rows=1000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "clips"}, "its tokenizer has the mode 'clips', which cannot be exported"),
        ({"options": {"language": "en"}}, "its tokenizer has the option 'language', which cannot be exported"),
        ({"options": {"clean": "none"}}, "its texts are cleaned by 'none', which is not known"),
    ],
)
def test_what_a_bundle_cannot_keep(changes, message):
    with pytest.raises(OptionError, match=message):
        tower_tokenizer(config_of("unigram", **changes), file=FOLDER / "unigram/tokenizer.json")


def test_a_pad_token_must_be_said(tmp_path):
    """Guessing it would give other features for every short text."""
    file = copied("unigram", tmp_path / "a")
    (tmp_path / "a/tokenizer_config.json").unlink()
    with pytest.raises(
        OptionError, match=r"does not say which token pads a text; put the tokenizer_config\.json of the"
    ):
        tower_tokenizer(config_of("unigram"), file=file)
    document = json.loads(file.read_text())
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    document["padding"] = {**padding, "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>"}
    file.write_text(json.dumps(document))
    assert tokenizer_of(tower_tokenizer(config_of("unigram"), file=file))([""]).tolist() == [[1] * 16]


def test_settings_that_name_no_pad_token_mean_the_usual_one(tmp_path):
    file = copied("unigram", tmp_path / "a", model_max_length=9)
    assert tokenizer_of(tower_tokenizer(config_of("unigram"), file=file))([""]).tolist() == [[1] + [0] * 15]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{}", r"tokenizer\.json: is not a tokenizer file: "),
        (
            "tokenizer.json",
            None,
            r"tokenizer\.json: no such file, and a-model has a tokenizer of its own; give it with",
        ),
        ("tokenizer_config.json", "{", r"tokenizer_config\.json: cannot be read as JSON: "),
        ("tokenizer_config.json", "[]", r"tokenizer_config\.json: must hold a JSON object"),
        (
            "tokenizer_config.json",
            '{"pad_token": "<gone>"}',
            "does not know the token '<gone>', which tokenizer_config",
        ),
    ],
)
def test_files_that_are_of_no_use(tmp_path, name, content, message):
    file = copied("unigram", tmp_path / "a")
    if content is None:
        (tmp_path / "a" / name).unlink()
    else:
        (tmp_path / "a" / name).write_text(content)
    with pytest.raises(OptionError, match=message) as caught:
        tower_tokenizer(config_of("unigram"), file=file)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path):
    file = copied("unigram", tmp_path / "a")
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))
    with pytest.raises(OptionError, match="adds no end token to a text"):
        tower_tokenizer(config_of("unigram"), file=file)


def test_a_separator_that_is_to_vanish_must_exist():
    config = config_of("unigram", options={"strip_sep_token": True})
    with pytest.raises(OptionError, match="has no separator token"):
        tower_tokenizer(config, file=FOLDER / "unigram/tokenizer.json")


@pytest.mark.parametrize("document", [{}, [], {"model_cfg": {"text_cfg": 3}}])
def test_a_configuration_without_texts(tmp_path, document):
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    with pytest.raises(OptionError, match="its configuration"):
        text_config(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("name", ["ViT-Z-99", "local-dir:/nowhere/at/all"])
def test_unknown_models(name):
    with pytest.raises(OptionError, match=r"is not an open_clip model|its configuration cannot be read") as caught:
        text_config(name)
    assert "\n" not in str(caught.value)
