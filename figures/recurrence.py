"""Draw the figure of the README, the recurrence on an astronaut by the offline backbone."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from skimage import data

import carlab
from carlab.cli.demo import QUERIES
from carlab.figures import recurrence_figure

TARGET = Path(__file__).parents[1] / "docs" / "images" / "recurrence.jpg"

if __name__ == "__main__":
    _, queries = QUERIES["astronaut"]
    drawn = BytesIO()
    recurrence_figure(carlab.segment(data.astronaut(), queries)).savefig(drawn, format="png", dpi=150)
    # All of the colour is kept (4:4:4): thin outlines must stay visible.
    Image.open(drawn).convert("RGB").save(TARGET, quality=80, subsampling=0, optimize=True)
