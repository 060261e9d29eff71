"""Labels of tills and warehouses become words that users read."""

from __future__ import annotations

import pytest

from pipeline.data.ingest.abbreviations import complete_words, name_case, readable_label, shares_a_word


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("BREAD:ITALIAN/FRENCH", "Bread italian/french"),
        ("FRZN ICE", "Frozen ice"),
        ("EGGS - LARGE", "Eggs, large"),
        ("POTATOES RUSSET (BULK&BAG)", "Potatoes russet (bulk & bag)"),
        ("SFT DRNK SNGL SRV BTL CARB (EX", "Soft drink single serve bottle carbonated"),
        ("SOFT DRINKS 20PK&24PK CAN CARB", "Soft drinks 20 pack & 24 pack can carbonated"),
        ("DAIRY CASE TEA WITH SUGAR OR S", "Dairy case tea with sugar"),
        ("INSTANT COFFEE FLAVORED NO SWE", "Instant coffee flavored"),
        ("FEM. HYGN.NAPKINS", "Feminine hygiene napkins"),
        ("CHRISTMAS  SEASONAL", "Christmas seasonal"),
        ("MINTS CANDY & BREATH (NOT LIF", "Mints candy & breath"),
    ],
)
def test_shelf_labels_are_spelt_out(label: str, expected: str):
    """Abbreviations are spelt out, and what a field of 30 characters cut off is left out."""
    assert readable_label(label, {"TEA", "SUGAR", "COFFEE", "FLAVORED"}, cut_at=30) == expected


def test_a_last_word_is_left_out_only_where_the_field_cut_it():
    """A full field's last word stays where it is a whole word elsewhere, and a shorter label's always does."""
    whole = complete_words({"SMALL CLEANER", "X" * 30}, cut_at=30)
    assert readable_label("KITCHEN & MULTI-PURPOSE SMALL CLEANER"[:30], whole, 30) == "Kitchen & multi-purpose small"
    assert readable_label("KITCHEN AND BATHROOM X CLEANER", whole, 30) == "Kitchen and bathroom x cleaner"
    assert readable_label("KITCHEN QZX", whole, 30) == "Kitchen qzx"
    assert "X" * 30 not in whole


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", "White Hanging Heart T-Light Holder"),
        ("SET OF 2 TEA TOWELS I LOVE LONDON", "Set of 2 Tea Towels I Love London"),
        ("PAPER CHAIN KIT 50'S CHRISTMAS", "Paper Chain Kit 50's Christmas"),
        ("CHILDREN'S APRON DOLLY GIRL", "Children's Apron Dolly Girl"),
        ("HEN HOUSE W CHICK STANDING", "Hen House with Chick Standing"),
        ("KEY FOB , SHED", "Key Fob, Shed"),
        ("RED WOOLLY HOTTIE WHITE HEART.", "Red Woolly Hottie White Heart"),
        ("POLYESTER FILLER PAD 40x40cm", "Polyester Filler Pad 40X40cm"),
        ("RED TOADSTOOL LED NIGHT LIGHT", "Red Toadstool LED Night Light"),
        ("*USB Office Mirror Ball", "USB Office Mirror Ball"),
        ("A PRETTY THANK YOU CARD", "A Pretty Thank You Card"),
    ],
)
def test_product_names_are_set_as_in_a_catalogue(name: str, expected: str):
    """Capitals become title case; abbreviations, apostrophes and small words come out right."""
    assert name_case(name) == expected


def test_two_labels_share_a_word_up_to_its_ending():
    """Sugar and sugars are one word, beef and lean are not."""
    assert shares_a_word("Sugar", "Sugars/sweeteners")
    assert not shares_a_word("Lean", "Beef")
