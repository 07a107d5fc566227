"""Text from providers, mended."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llm.surrogates import REPLACEMENT, Mender, joined

units = st.text(alphabet=st.characters(exclude_categories=[]), max_size=12)


def mended(fragments: list[str]) -> str:
    mender = Mender()
    text = "".join(mender.mend(fragment, channel="text") for fragment in fragments)
    return text + REPLACEMENT * len(mender.left())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.data())
def test_a_text_cut_into_utf16_units_comes_back_whole(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-16-le")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw) // 2))))
    edges = [0, *cuts, len(raw) // 2]
    fragments = [raw[2 * start : 2 * end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(edges)]

    assert mended(fragments) == text


@given(st.lists(units))
def test_what_comes_out_can_always_be_stored(fragments: list[str]) -> None:
    text = mended(fragments)

    assert "\0" not in text
    assert text.encode().decode() == text
    assert text == joined("".join(fragments))


def test_channels_do_not_lend_each_other_halves() -> None:
    mender = Mender()

    mender.mend("\ud83d", channel="text")

    assert mender.mend("\ude00", channel="reasoning") == REPLACEMENT
    assert mender.mend("\ude00", channel="text") == "😀"
    assert mender.left() == []
