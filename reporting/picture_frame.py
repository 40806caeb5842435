"""Title and legend around a picture: strips above and below it, so that they cover nothing."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Entry = tuple[str, Color, str]  # style, colour, text of a sign in the legend

TEXT: Final = (226, 231, 240)
_STRIP: Final = (17, 21, 31)
_STRIP_PX: Final = 38
_LINE_PX: Final = 24
_TITLE_PX: Final = 17
_LEGEND_PX: Final = 15


def framed(image: Image.Image, title: str, entries: list[Entry]) -> Image.Image:
    """Return the picture with a strip for the title above and one for the legend below it.

    Args:
        image: RGB.
        title: one line, cut to the width; no strip when empty.
        entries: style ("box", "line", "ring" or "dashed"), colour and text of each sign.
    """
    places = _flow(entries, image.width)
    above = _STRIP_PX if title else 0
    below = (places[-1][1] + _LINE_PX + 8) if places else 0
    whole = Image.new("RGB", (image.width, image.height + above + below), _STRIP)
    whole.paste(image, (0, above))
    draw = ImageDraw.Draw(whole)
    _draw_title(draw, title, image.width)
    for (style, color, text), (left, top) in zip(entries, places, strict=True):
        middle = above + image.height + top + _LINE_PX // 2
        _draw_sign(draw, style, color, left, middle)
        draw.text((left + 28, middle), text, font=font(_LEGEND_PX), fill=TEXT, anchor="lm")
    return whole


def _flow(entries: list[Entry], width: int) -> list[tuple[int, int]]:
    """Return (left, top) of each legend entry inside the strip, wrapped at the width."""
    places: list[tuple[int, int]] = []
    left, top = 14, 8
    for _, _, text in entries:
        need = 28 + int(font(_LEGEND_PX).getlength(text)) + 20
        if left > 14 and left + need > width:
            left, top = 14, top + _LINE_PX
        places.append((left, top))
        left += need
    return places


def _draw_sign(draw: ImageDraw.ImageDraw, style: str, color: Color, left: int, middle: int) -> None:
    """Draw the sign of a legend entry, 20 pixels wide."""
    if style == "box":
        draw.rectangle([left, middle - 5, left + 18, middle + 5], outline=color, width=2)
    elif style == "line":
        draw.line([left, middle, left + 18, middle], fill=color, width=3)
    elif style == "ring":
        draw.ellipse([left + 2, middle - 7, left + 16, middle + 7], outline=color, width=2)
    else:
        for start in (left, left + 8, left + 16):
            draw.line([start, middle, start + 4, middle], fill=color, width=2)


def _draw_title(draw: ImageDraw.ImageDraw, title: str, width: int) -> None:
    """Write the title, cut to the width of the picture."""
    large = font(_TITLE_PX)
    while len(title) > 4 and draw.textlength(title, font=large) > width - 28:
        title = title[:-4].rstrip() + "..."
    draw.text((14, _STRIP_PX // 2 + 1), title, font=large, fill=TEXT, anchor="lm")


def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow brings along: the same picture on every machine."""
    return ImageFont.load_default(size_px)
