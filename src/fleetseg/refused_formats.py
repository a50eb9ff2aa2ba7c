"""Images that are not read, known by their first bytes, so that the refusal can say what would be right."""

from __future__ import annotations

#: Beginning of a file → what it is and what to do. Radiance and OpenEXR hold light, not colours: how it becomes
#: 0 to 255 is a choice that only a person can make.
_KINDS = (
    ((b"#?RADIANCE", b"#?RGBE"), "is a Radiance HDR image; map its tones to 8 or 16 bits and save it as PNG or TIFF"),
    ((b"\x76\x2f\x31\x01",), "is an OpenEXR image; map its tones to 8 or 16 bits and save it as PNG or TIFF"),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "is a JPEG 2000 image; save it as PNG, JPEG or TIFF"),
    ((b"\0\0\0\x0cJXL ", b"\xff\x0a"), "is a JPEG XL image; save it as PNG, JPEG or TIFF"),
    ((b"%PDF", b"%!PS"), "is a document, not an image; save its page as PNG"),
    ((b"<svg", b"<?xml"), "is drawn with vectors; save it as PNG"),
    (
        (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "is broken, or a TIFF of unusual samples; grey or RGB of 8 or 16 bits is needed",
    ),
)
#: ISO media files name their kind at byte 8.
_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")

_OTHERS = "is broken or no PNG, JPEG, TIFF, WebP, BMP or GIF image"


def why_unreadable(beginning: bytes) -> str:
    """The rest of a sentence that begins with the file's name, from its first 16 bytes."""
    for starts, sentence in _KINDS:
        if beginning.startswith(starts):
            return sentence
    if beginning[4:8] == b"ftyp" and beginning[8:12] in _BRANDS:
        return "is a HEIF or AVIF image; save it as PNG, JPEG or TIFF"
    return _OTHERS
