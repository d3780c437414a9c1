"""The figures of the page as files, and what the page says beside each.

A figure stands in the folder of its question as NAME.png and NAME.svg, without its title, which
the page says above it.  The SVG follows the reader's dark mode by itself, in the page and alone.
`figures.json` lists them, so that the page can be written again without drawing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.text import Text

from experiments.report import style
from experiments.report.findings import Plot
from lincls import files

LIST = "figures.json"
# What a colour becomes in dark mode; those that are not named suit both.
DARK = {style.INK: "#e4e7eb", "white": "#1c2025", "#e4e4e4": "#3a4149", style.BLUE: "#3f9bdc"}
KEPT = "kept"  # the ids of what keeps its colours begin with it


class Shown(NamedTuple):
    """A figure that stands in a folder.

    Attributes:
        name: the files are <name>.svg and <name>.png.
        title: what it found.
        caption: how to read it.
        alt: what it shows, for who cannot see it.
        width: pixels of the PNG.
        height: likewise.
    """

    name: str
    title: str
    caption: str
    alt: str
    width: int
    height: int


def publish(plots: Iterable[Plot], folder: Path) -> list[Shown]:
    """Save the page's figures in a folder, and the list of them."""
    shown = [_publish(plot, folder) for plot in plots]
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / LIST, {"figures": [figure._asdict() for figure in shown]})
    return shown


def standing(folder: Path) -> list[Shown]:
    """The figures that were saved in a folder.

    Raises:
        OSError, ValueError, TypeError: there is no such list, or it is damaged.
    """
    return [Shown(**entry) for entry in files.read_json(folder / LIST)["figures"]]


def _publish(plot: Plot, folder: Path) -> Shown:
    title = plot.figure.get_suptitle().replace("\n", " ")
    _drop_title(plot.figure)
    for number, artist in enumerate(_on_colour(plot.figure)):
        artist.set_gid(f"{KEPT}{number}")
    style.save(plot, folder)
    path = folder / f"{plot.name}.svg"
    text = with_dark_mode(path.read_text(encoding="utf-8"))
    files.write(path, lambda file: file.write(text.encode()))
    width, height = (round(side * style.DPI) for side in plot.figure.get_size_inches())
    return Shown(plot.name, title, plot.caption, plot.alt, width, height)


def _drop_title(figure: Figure) -> None:
    """Remove the title with its room."""
    title = figure.get_suptitle()
    if title:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height - style.LINE * (1 + title.count("\n")))
        figure.suptitle("").set_in_layout(False)


# --- dark mode -------------------------------------------------------------------------------


def with_dark_mode(svg: str) -> str:
    """An SVG with a style sheet that exchanges the colours of `DARK` where dark is preferred."""
    kept = f':not([id^="{KEPT}"], [id^="{KEPT}"] *)'
    rules = [
        f'[style*="{what}: {to_hex(light)}"]{kept} {{{what}: {dark} !important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]
    rules.append(f"svg {{background: {DARK['white']}}}")
    sheet = "@media screen and (prefers-color-scheme: dark) {" + " ".join(rules) + "}"
    place = svg.index("<defs>")
    return f'{svg[:place]}<style type="text/css">{sheet}</style>\n {svg[place:]}'


def _on_colour(figure: Figure) -> list[Artist]:
    """What is drawn upon a colour that dark mode leaves as it is, and so keeps its own."""
    found = list[Artist]()
    for axes in figure.axes:
        drawn = [*axes.lines, *axes.texts, *axes.patches, *axes.collections]
        if any(map(_covers, [*axes.images, *axes.collections])):
            found += [one for one in drawn if not (isinstance(one, Text) and one.get_bbox_patch())]
        elif any(map(_is_pale, axes.images)) and axes.texts:
            found += [*drawn, axes.patch]  # letters that are chosen for a picture on white
        else:
            found += [text for text in axes.texts if _on_a_patch(text, axes)]
    return found


def _covers(artist: Artist) -> bool:
    """Whether an artist colours the whole panel."""
    if isinstance(artist, AxesImage):
        pixels = artist.get_array()
        return not _is_pale(artist) and pixels is not None and pixels.shape[-1] != 4
    filled = isinstance(artist, ContourSet) and artist.filled
    return (isinstance(artist, QuadMesh) or filled) and artist.get_alpha() in (None, 1)


def _is_pale(image: AxesImage) -> bool:
    """Whether what is below a picture shines through it."""
    return image.get_alpha() not in (None, 1)


def _on_a_patch(text: Text, axes: Axes) -> bool:
    """Whether the middle of a text lies on a patch or a bar of one opaque colour."""
    x, y = text.get_transform().transform(text.get_unitless_position())
    if any(patch.contains_point((x, y)) and _is_opaque(patch) for patch in axes.patches):
        return True
    return any(
        _is_opaque(bars) and any(path.contains_point((x, y), bars.get_transform())
                                 for path in bars.get_paths())
        for bars in axes.collections
    )  # fmt: skip


def _is_opaque(artist: Patch | Collection) -> bool:
    colours = to_rgba_array(artist.get_facecolor())
    return len(colours) > 0 and bool((colours[:, 3] == 1).all())
