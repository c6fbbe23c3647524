"""Draw the pictures of docs/images, both of the astronaut by the offline backbone.

`recurrence.jpg`, the figure of the README, and `player.jpg`, what the player shows first.
"""

from base64 import b64decode
from io import BytesIO
from pathlib import Path

from PIL import Image
from skimage import data

import carlab
from carlab.cli.demo import QUERIES
from carlab.figures import recurrence_figure
from carlab.widgets import RecurrencePlayer
from carlab.widgets.front import picture_bundle

FOLDER = Path(__file__).parents[1] / "docs" / "images"

if __name__ == "__main__":
    trace = carlab.segment(data.astronaut(), QUERIES["astronaut"][1])
    drawn = BytesIO()
    recurrence_figure(trace).savefig(drawn, format="png", dpi=150)
    # All of the colour is kept (4:4:4): thin outlines must stay visible.
    picture = Image.open(drawn).convert("RGB")
    picture.save(FOLDER / "recurrence.jpg", quality=80, subsampling=0, optimize=True)
    player = RecurrencePlayer(trace, step=len(trace.steps) - 1)
    (FOLDER / "player.jpg").write_bytes(b64decode(picture_bundle(player)["image/jpeg"]))
