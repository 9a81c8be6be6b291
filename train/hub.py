"""Files of the Hugging Face hub, through its own client and cache; without a connection that is said at once.

The client tries an unreachable hub six times for every file, and open_clip asks for several files.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.errors import OptionError

__all__ = ["hub_file", "refuse_unreachable"]

_ANY_FILE = ".gitattributes"  # every repository has one, and a small one
_TIMEOUT_SECONDS = 10.0


def hub_file(repository: str, name: str) -> Path:
    """A file of a repository, from the cache or the hub.

    Raises:
        OptionError: if it cannot be had.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repository, name), str):
        refuse_unreachable(repository)
    try:
        return Path(hf_hub_download(repository, name))
    except (OSError, ValueError) as error:  # all of the hub's errors are one of these
        raise OptionError(f"{name} of {repository} cannot be loaded: {_first_line(error)}") from error


def refuse_unreachable(repository: str) -> None:
    """Check that the hub answers, unless something of the repository is in the cache. Raises `OptionError`."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import repo_folder_name

    if (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")).is_dir():
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, _ANY_FILE), timeout=_TIMEOUT_SECONDS)
    except HfHubHTTPError:
        return  # an answer, whatever it is; what is asked for next gets its own
    except Exception as error:  # those of the library that makes the connection, which the client may change
        raise OptionError(f"the Hugging Face hub cannot be reached for {repository}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
