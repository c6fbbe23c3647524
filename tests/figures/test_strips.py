"""Strips of pictures: what stands above and below each, and what is asked of a trace."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from carlab.errors import ProbeError, SettingError
from carlab.figures import (
    compare_figure,
    maps_figure,
    matrix_figure,
    overlay_figure,
    patches_figure,
    prompted_figure,
    recurrence_figure,
    regions_figure,
    save_figure,
    scores_figure,
)
from carlab.figures.layers import layer_picture
from carlab.files.pictures import colour, edge, paint, resize_maps, stacked
from tests.hostile.strings import HOSTILE
from tests.traces import ETA, GRID, make_trace

MAPS = np.linspace(0, 2, 3 * GRID[0] * GRID[1]).reshape(3, *GRID)
RELATED = np.eye(GRID[0] * GRID[1])


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def captions(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_maps_stand_under_their_queries_each_with_its_range() -> None:
    figure = maps_figure(make_trace(probes={"cam.raw": MAPS}), "cam.raw", 0)
    assert titles(figure) == ["cat", "dog", "sofa"]
    assert captions(figure)[0] == f"0 to {MAPS[0].max():.3g}"
    hottest = figure.axes[2].images[0].get_array()
    assert hottest[-1, -1].sum() > hottest[0, 0].sum()


def test_what_was_not_recorded_is_asked_for_by_name() -> None:
    with pytest.raises(ProbeError, match=r"record=.*cam\.raw"):
        maps_figure(make_trace(), "cam.raw")
    with pytest.raises(ProbeError, match="axes"):
        maps_figure(make_trace(probes={"filter.scores": MAPS[0, 0]}), "filter.scores")
    with pytest.raises(ProbeError, match="axes"):
        maps_figure(make_trace(probes={"a.probe.of.ones.own": MAPS}), "a.probe.of.ones.own")
    with pytest.raises(ProbeError, match=r"affinity\.attention"):
        patches_figure(make_trace(), [(0, 0)])


def test_a_patch_is_framed_where_it_lies() -> None:
    trace = make_trace(size=(60, 90), probes={"affinity.similarity": RELATED})
    picture = patches_figure(trace, [(2, 4)]).axes[0].images[0].get_array()
    white = np.argwhere((np.asarray(picture) == 255).all(axis=2))
    assert white.min(axis=0).tolist() == [20, 40]
    assert white.max(axis=0).tolist() == [29, 49]


@pytest.mark.parametrize("patch", [(-1, 0), (GRID[0], 0), (0, GRID[1])])
def test_a_patch_outside_is_refused(patch: tuple[int, int]) -> None:
    with pytest.raises(SettingError, match="inside 6 rows and 9 columns"):
        patches_figure(make_trace(probes={"affinity.similarity": RELATED}), [patch])


def test_regions_lie_over_the_photo_small_ones_on_top() -> None:
    large = np.ones((6, 8), dtype=bool)
    small = np.zeros((6, 8), dtype=bool)
    small[2:4, 2:5] = True
    trace = make_trace(probes={"refine.regions": np.stack([small, large])})
    assert captions(regions_figure(trace))[0] == "2 regions"
    photo = np.zeros((60, 80, 3), np.uint8)
    painted = paint(photo, stacked(np.stack([small, large])), opacity=1.0)
    np.testing.assert_array_equal(painted[30, 35], colour(1))
    np.testing.assert_array_equal(painted[50, 70], colour(0))
    np.testing.assert_array_equal(paint(photo, stacked(np.zeros((0, 6, 8), bool))), photo)
    with pytest.raises(ProbeError, match=r"recorded probe of axes \(m h w\).*refine.regions"):
        regions_figure(make_trace())


def test_prompted_images_carry_their_verdict() -> None:
    figure = prompted_figure(make_trace())
    assert titles(figure) == ["cat", "dog", "sofa"]
    assert captions(figure) == ["0.80 kept", "0.80 kept", "0.12 dropped"]


def test_traces_are_compared_by_name_and_what_was_found() -> None:
    nothing = make_trace(kept=((),))
    figure = compare_figure({"a": make_trace(), "b": nothing})
    assert titles(figure) == ["a", "b"]
    assert captions(figure) == ["cat", "nothing"]


def test_long_strips_break_into_rows_and_count_the_rest() -> None:
    figure = prompted_figure(make_trace([f"q{n}" for n in range(30)], kept=((0,),)))
    assert len(figure.axes) == 24
    assert captions(figure)[-1] == "... and 6 more"
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 6


def test_the_matrix_shows_the_scores() -> None:
    trace = make_trace()
    axes = matrix_figure(trace).axes[0]
    shown = [float(text.get_text()) for text in axes.texts]
    np.testing.assert_allclose(shown, trace.steps[0].probs.ravel(), atol=0.005)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "sofa"]


def test_hostile_queries_are_drawn_as_text() -> None:
    trace = make_trace(HOSTILE[:24], kept=((0,),), probes={"cam.raw": np.zeros((24, *GRID))})
    for figure in (maps_figure(trace, "cam.raw"), prompted_figure(trace), matrix_figure(trace)):
        figure.draw_without_rendering()
    assert titles(maps_figure(trace, "cam.raw"))[9] == "$x^2$"


def test_a_figure_shows_itself_in_the_smaller_format() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    (photo_kind, photo), (lines_kind, _) = (
        *overlay_figure(make_trace(image=noise))._repr_mimebundle_().items(),
        *scores_figure(make_trace())._repr_mimebundle_().items(),
    )
    assert (photo_kind, lines_kind) == ("image/jpeg", "image/png")
    assert Image.open(BytesIO(photo)).width == 450


def test_strips_are_saved_like_other_figures(tmp_path) -> None:
    trace = make_trace()
    for suffix in ("png", "pdf", "svg"):
        first, second = (
            save_figure(matrix_figure(trace), tmp_path / f"{n}.{suffix}").read_bytes() for n in "ab"
        )
        assert first == second


def test_masks_are_outlined_at_eta_in_colour_on_the_screen_and_in_white_in_print() -> None:
    trace = make_trace(size=(60, 90), image=np.full((60, 90, 3), 128, np.uint8))
    mask = resize_maps(trace.steps[0].masks[:1], 60, 90)[0] > ETA
    painted = layer_picture(trace, 0, "mask", [0])
    np.testing.assert_array_equal((painted == colour(0)).all(axis=2), edge(mask) | edge(~mask))
    printed = np.asarray(recurrence_figure(trace).axes[1].images[0].get_array())
    np.testing.assert_array_equal((printed == 255).all(axis=2), edge(mask))
