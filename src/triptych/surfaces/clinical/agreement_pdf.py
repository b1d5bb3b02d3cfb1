"""An acceptance as PDF: the agreement's text as it was signed, and who signed it when.

The facts are attached once more as JSON (``acceptance.json``): a printed page can only show characters
its font has, and the attachment says them all.
"""

from collections.abc import Container
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from triptych.core.agreement import Acceptance
from triptych.core.clock import MICROSECONDS_PER_S, rfc3339

if TYPE_CHECKING:
    from fpdf import FPDF

_FONTS: Final = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
)
"""Where fonts with more than Western letters are found, if any is needed."""
_CORE: Final = "Helvetica"
_LARGE, _NORMAL, _SMALL = 15, 10, 8
_LINE_MM: Final = 5
_LABEL_MM: Final = 45


def acceptance_pdf(signed: Acceptance, org_slug: str, text: str) -> bytes:
    """``text``: of the template that was signed."""
    # Costs 200 ms to import: paid by the first who asks for a PDF.
    from fpdf import FPDF

    facts = _facts(signed, org_slug)
    pdf = FPDF(format="A4")
    pdf.set_creation_date(datetime.fromtimestamp(signed.accepted_us // MICROSECONDS_PER_S, UTC))
    pdf.set_title("Business Associate Agreement")
    pdf.set_auto_page_break(True, margin=20)
    show = _typesetter(pdf, "".join((*facts.values(), text)))
    pdf.add_page()
    pdf.set_font_size(_LARGE)
    pdf.multi_cell(0, 8, "Business Associate Agreement: acceptance", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font_size(_NORMAL)
    pdf.ln(2)
    for label, value in facts.items():
        pdf.cell(_LABEL_MM, _LINE_MM, label)
        pdf.multi_cell(0, _LINE_MM, show(value), new_x="LMARGIN", new_y="NEXT", align="L")
    pdf.ln(4)
    pdf.set_font_size(_SMALL)
    pdf.multi_cell(
        0,
        4,
        "Signed electronically. The SHA-256 is that of the text below in UTF-8; the same facts are attached "
        "to this file as acceptance.json.",
        new_x="LMARGIN",
        new_y="NEXT",
    )
    pdf.add_page()
    pdf.set_font_size(_NORMAL)
    pdf.multi_cell(0, _LINE_MM, show(text), new_x="LMARGIN", new_y="NEXT", align="L")
    record = {"acceptance": msgspec.structs.asdict(signed), "org": org_slug}
    pdf.embed_file(basename="acceptance.json", bytes=msgspec.json.encode(record), desc="The facts as JSON")
    return bytes(pdf.output())


def _facts(signed: Acceptance, org_slug: str) -> dict[str, str]:
    def moment(microseconds: int | None, otherwise: str) -> str:
        return otherwise if microseconds is None else rfc3339(microseconds // MICROSECONDS_PER_S)

    return {
        "Acceptance": f"baa_{signed.id}",
        "Organization": org_slug,
        "Signer": signed.signer_name,
        "Title": signed.signer_title,
        "E-mail": signed.signer_email,
        "Signed at (UTC)": moment(signed.accepted_us, ""),
        "Signed from": signed.ip_address or "the gateway's own machine",
        "Expires (UTC)": moment(signed.expires_us, "does not expire by itself"),
        "Ended (UTC)": moment(signed.ended_us, "not ended"),
        "Template version": signed.template_version,
        "Template SHA-256": signed.template_sha256,
    }


def _typesetter(pdf: "FPDF", everything: str) -> Any:
    """Chooses a font that has all the characters, and returns what makes a text printable in it."""
    try:
        everything.encode("latin-1")
    except UnicodeEncodeError:
        for path in _FONTS:
            if Path(path).is_file():
                pdf.add_font("wide", fname=path)
                pdf.set_font("wide")
                # The library would log which letters are missing, and they are of names.
                return partial(_spelled, getattr(pdf.current_font, "cmap", ()))
        pdf.set_font(_CORE)
        return partial(_spelled, range(256))
    pdf.set_font(_CORE)
    return lambda text: text


def _spelled(shown: Container[int], text: str) -> str:
    """Nothing is lost: what the font cannot show is spelled out by its number."""
    return "".join(c if c in "\n\r\t" or ord(c) in shown else f"<U+{ord(c):04X}>" for c in text)
