"""Readable words out of the upper-case, abbreviated labels of tills and warehouses."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

# Abbreviations, and words cut by a field of 30 characters, with the complete word.
_WORDS: Final = {
    "ACCESS": "accessories",
    "ACCESSIORES": "accessories",
    "ACTIVATI": "activation",
    "BA": "bags",
    "BBQ": "BBQ",
    "BEERALE": "beer/ale",
    "BEERALEMALT": "beer/ale/malt",
    "BEV": "beverages",
    "BEVERAG": "beverages",
    "BG": "bags",
    "BKD": "baked",
    "BKNGWARES": "bakeware",
    "BLY": "belly",
    "BN": "beans",
    "BR": "bread",
    "BRKFST": "breakfast",
    "BRSKT": "brisket",
    "BRST": "breast",
    "BTL": "bottle",
    "BTLS": "bottles",
    "BTR": "butter",
    "CAR": "carton",
    "CARB": "carbonated",
    "CATFD": "cat food",
    "CD": "CD",
    "CHICK": "chicken",
    "CHIX": "chicken",
    "CHOC": "chocolate",
    "CHOCOCLATE": "chocolate",
    "CHOCOLA": "chocolate",
    "CHP": "chops",
    "CHRISTMAS": "Christmas",
    "CKE": "cake",
    "CKTLS": "cocktails",
    "CKYS": "cookies",
    "CLEANE": "cleaners",
    "CLEANG": "cleaning",
    "CND": "canned",
    "CNDY": "candy",
    "CNTRL": "control",
    "COFF": "coffee",
    "CONC": "concentrate",
    "CONTAINR": "containers",
    "COOKI": "cookies",
    "COOKNG": "cooking",
    "CRBNTD": "carbonated",
    "CRKR": "crackers",
    "CRMD": "creamed",
    "CRYSTL": "crystal",
    "CTLRYTBLCLTHSTTHPKSST": "cutlery/tablecloths/toothpicks",
    "DECAF": "decaffeinated",
    "DEPT": "department",
    "DNR": "dinner",
    "DNRS": "dinners",
    "DOGFD": "dog food",
    "DPS": "dips",
    "DRD": "dried",
    "DRNK": "drink",
    "DRNKING": "drinking",
    "DRNKNG": "drinking",
    "DRNKS": "drinks",
    "DRP": "drops",
    "DRSNG": "dressing",
    "DSH": "dishes",
    "DVD": "DVD",
    "EASTER": "Easter",
    "EXCP": "except",
    "FD": "food",
    "FDS": "food",
    "FEM": "feminine",
    "FLV": "flavored",
    "FLVR": "flavored",
    "FLVRD": "flavored",
    "FRD": "fried",
    "FRE": "fresh",
    "FRZ": "frozen",
    "FRZN": "frozen",
    "FS": "French style",
    "GDS": "goods",
    "GM": "general merchandise",
    "GNGR": "ginger",
    "GRND": "ground",
    "HALLOWEEN": "Halloween",
    "HANDKE": "handkerchiefs",
    "HBC": "health/beauty care",
    "HNGRS": "hangers",
    "HYGN": "hygiene",
    "INCL": "",
    "INSTORE": "in-store",
    "IQF": "individually frozen",
    "IWS": "individually wrapped slices",
    "JCE": "juice",
    "JUIC": "juice",
    "LIQS": "liquors",
    "LNCHMT": "lunch meat",
    "LOZNG": "lozenges",
    "MACH": "machine",
    "MEDICATE": "medicated",
    "MERCH": "merchandise",
    "MINWTR": "mineral water",
    "MISC": "miscellaneous",
    "MIXS": "mixes",
    "MLK": "milk",
    "MLT": "multi",
    "MNERAL": "mineral",
    "MNRL": "mineral",
    "MULT": "multiple",
    "MW": "microwave",
    "MX": "mix",
    "MXS": "mixes",
    "ORGNZRS": "organizers",
    "PAC": "pack",
    "PCKGD": "packaged",
    "PK": "pack",
    "PKG": "package",
    "PKGD": "packaged",
    "PKLD": "pickled",
    "PLSTC": "plastic",
    "PNT": "peanut",
    "PPK": "prepack",
    "PREM": "premium",
    "PREP": "prepared",
    "PREPORTND": "preportioned",
    "PRODUC": "products",
    "PRPCK": "prepack",
    "PRSLC": "presliced",
    "PSE": "pseudoephedrine",
    "PTTY": "patty",
    "PWDR": "powder",
    "PWDRS": "powders",
    "REFRGRATD": "refrigerated",
    "REFRIG": "refrigerated",
    "REG": "regular",
    "RTD": "ready to drink",
    "RTS": "ready to serve",
    "RW": "random weight",
    "SAL": "salad",
    "SALD": "salad",
    "SAUCESSALSAPICANTEE": "sauces/salsa/picante",
    "SAUS": "sausage",
    "SCE": "sauce",
    "SFT": "soft",
    "SGL": "single",
    "SHERBTS": "sherbets",
    "SHLDR": "shoulder",
    "SLC": "slices",
    "SNDWCH": "sandwich",
    "SNGL": "single",
    "SNKS": "snacks",
    "SPECILATY": "specialty",
    "SPLY": "supplies",
    "SPRD": "spread",
    "SRV": "serve",
    "SS": "single serve",
    "STK": "steak",
    "SUP": "super",
    "SUPP": "supplement",
    "SUPPLEMEN": "supplements",
    "SUPPPLIES": "supplies",
    "SV": "serve",
    "SW": "sweet",
    "SWEETNERS": "sweeteners",
    "SYRP": "syrup",
    "TISS": "tissue",
    "TORT": "tortilla",
    "TRSH": "trash",
    "TV": "TV",
    "VAC": "vacuum",
    "VEG": "vegetable",
    "VEND": "vending",
    "WAT": "water",
    "WATE": "water",
    "WH": "whole",
    "WHL": "whole",
    "WHLSM": "wholesome",
    "WT": "weight",
    "WTR": "water",
    "XPCTRNT": "expectorant",
}


_UPPER_CASE: Final = frozenset({"BBQ", "CD", "DIY", "DVD", "EU", "LED", "TV", "UK", "UHT", "USA", "USB", "XL"})


_LOWER_CASE: Final = frozenset({"a", "and", "at", "by", "cm", "for", "in", "of", "on", "or", "the", "to", "with"})


_WORD: Final = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")


_COUNT_AND_PACK: Final = re.compile(r"(\d)PK\b")


_OPEN_BRACKET: Final = re.compile(r"\s*\([^)]*$")


_LAST_WORD: Final = re.compile(r"[ /&-]+([A-Z]+)$")


_DANGLING: Final = re.compile(r"(?:[ ,/&-]+(?:AND|EX|NO|NON|NOT|OR|W|WITH))+[ ,/&-]*$")


def complete_words(labels: Collection[str], cut_at: int) -> frozenset[str]:
    """Return the words of the labels shorter than ``cut_at`` characters, which no field has cut."""
    return frozenset(word for label in labels if len(label) < cut_at for word in _WORD.findall(label.upper()))


def readable_label(label: str, whole_words: Collection[str], cut_at: int) -> str:
    """Return a shop's shelf label, such as ``FRZN BREAD:ITALIAN/FRENCH``, in readable words.

    Args:
        label: The label, in capitals and abbreviations.
        whole_words: Words known not to be cut, from :func:`complete_words`.
        cut_at: The field's width; the last word of a label of that length is left out where it was cut.
    """
    text = _OPEN_BRACKET.sub("", " ".join(label.split()))
    if len(label) >= cut_at:
        text = _without_cut_word(text, whole_words)
    text = _COUNT_AND_PACK.sub(r"\1 PK", _DANGLING.sub("", text))
    text = re.sub(r"[:.](?=[A-Z ]|$)", " ", text).replace(" - ", ", ").replace("&", " & ")
    text = _WORD.sub(lambda match: _WORDS.get(match.group(), match.group().lower()), text)
    text = " ".join(text.split()).strip(" ,-/&")
    return text[:1].upper() + text[1:]


def _without_cut_word(text: str, whole_words: Collection[str]) -> str:
    last = _LAST_WORD.search(text)
    if last and last[1] not in _WORDS and (last[1] not in whole_words or len(last[1]) == 1):
        return text[: last.start()]
    return text


def shares_a_word(text: str, other: str) -> bool:
    """Return whether two labels share a word, up to its ending."""
    stems = {word[:4] for word in _WORD.findall(text.lower())}
    return any(word[:4] in stems for word in _WORD.findall(other.lower()))


def name_case(name: str) -> str:
    """Return a product name in capitals, such as ``SET OF 6 T-LIGHTS W HEART.``, as a catalogue prints it."""
    text = re.sub(r"\bW(?:/| (?=[A-Z]))", "WITH ", name.upper())
    text = re.sub(r"\s+,", ",", " ".join(text.split())).strip(" .,*")
    return _WORD.sub(_cased, text)


def _cased(match: re.Match[str]) -> str:
    word, before = match.group(), match.string[: match.start()]
    if word in _UPPER_CASE:
        return word
    lower = word.lower()
    if before.endswith("'") or (before and lower in _LOWER_CASE):  # as in 50's
        return lower
    return lower[:1].upper() + lower[1:]
