"""Values for the slots of templates: each with the kind of identifier it is, or None."""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faker import Faker

from training.phi.vocabulary import (
    ADJECTIVES,
    COUNTRIES,
    FACILITIES,
    LOCALES,
    NUCLEI,
    ONSETS,
    ROMANISED,
    STREETS,
    SURNAME_PARTS,
)
from triptych.engines.phi.normalise import plain

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Value:
    text: str
    kind: str | None


def words(name: str) -> list[str]:
    return (HERE / "terms" / f"{name}.txt").read_text().split()


def lines(name: str) -> list[str]:
    return (HERE / "terms" / f"{name}.txt").read_text().splitlines()


class Values:
    """Draws values; ``held_out`` draws from the tenth of the names and places that training never sees."""

    def __init__(
        self,
        seed: int,
        first_names: list[str],
        surnames: list[str],
        cities: list[tuple[str, str]],
        held_out: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.fakers = [Faker(locale) for locale in LOCALES]
        for number, faker in enumerate(self.fakers):
            faker.seed_instance(seed + number)
        self.us = self.fakers[0]
        self.held_out = held_out
        self.first_names, self.surnames, self.cities = (
            [name for name in first_names if self._mine(name)],
            [name for name in surnames if self._mine(name)],
            [city for city in cities if self._mine(city[0])],
        )
        self.romanised = {
            origin: tuple(
                [name for name in part.split() if self._mine(name)] or part.split() for part in parts
            )
            for origin, parts in ROMANISED.items()
        }
        self.drugs, self.eponyms, self.tests = words("drug"), words("epo"), lines("test")
        self.abbreviations, self.clinical_words = words("abbreviation"), words("clinical_word")
        self.conditions, self.symptoms, self.procedures = (
            lines("condition"),
            lines("symptom"),
            lines("procedure"),
        )
        self.slots: dict[str, Callable[[], Value]] = {
            "name": lambda: Value(self.name(), "PERSON"),
            "first": lambda: Value(self.first(), "PERSON"),
            "last": lambda: Value(self.last(), "PERSON"),
            "doctor": lambda: Value(self.doctor(), "PERSON"),
            "initial": lambda: Value(self.random.choice(string.ascii_uppercase), "PERSON"),
            "facility": lambda: Value(self.facility(), "LOCATION"),
            "city": lambda: Value(self.city(), "LOCATION"),
            "state": lambda: Value(self.us.state() if self.coin(0.6) else self.us.state_abbr(), "LOCATION"),
            "country": lambda: Value(self.country(), "LOCATION"),
            "place": lambda: Value(self.place(), "LOCATION"),
            "address": lambda: Value(self.address(), "LOCATION"),
            "date": self.date,
            "id": lambda: Value(self.identifier(), "ID"),
            "pid": lambda: Value(self.identifier(), "ID"),
            "ssn": lambda: Value(self.us.ssn(), "ID"),
            "num10": lambda: Value(self.digits(10), "ID"),
            "phone": lambda: Value(self.phone(), "PHONE_NUMBER"),
            "email": lambda: Value(self.us.email(), "ID"),
            "user": lambda: Value(self.us.user_name(), "PERSON"),
            "age90": lambda: Value(str(self.random.randint(90, 108)), "AGE"),
            "age": lambda: Value(str(self.random.randint(1, 89)), None),
            "sex": lambda: Value(self.random.choice("MF"), None),
            "year": lambda: Value(str(self.random.randint(1950, 2026)), None),
            "num": lambda: Value(
                self.random.choice(
                    (
                        str(self.random.randint(0, 40)),
                        str(self.random.randint(41, 500)),
                        f"{self.random.uniform(0, 20):.1f}",
                    )
                ),
                None,
            ),
            "dur": lambda: Value(self.duration(), None),
            "dose": lambda: Value(
                f"{self.random.choice((5, 10, 20, 25, 40, 50, 81, 100, 250, 500, 1000, '0.5', '2.5'))}{self.random.choice((' mg', 'mg', ' mcg', ' units', ' mL'))}",
                None,
            ),
            "drug": lambda: Value(self.drug(), None),
            "condition": lambda: Value(
                self.random.choice(
                    self.conditions
                    if self.coin(0.7)
                    else self.abbreviations
                    if self.coin(0.6)
                    else self.clinical_words
                ),
                None,
            ),
            "symptom": lambda: Value(self.random.choice(self.symptoms), None),
            "procedure": lambda: Value(self.random.choice(self.procedures), None),
            "test": lambda: Value(self.random.choice(self.tests), None),
            "epo": lambda: Value(self.eponym(), None),
            "abbr": lambda: Value(self.random.choice(self.abbreviations), None),
            "word": lambda: Value(self.random.choice(self.clinical_words), None),
            "org": lambda: Value(self.us.company(), None),
        }

    def _mine(self, name: str) -> bool:
        return (sum(map(ord, name)) % 10 == 3) == self.held_out

    def coin(self, chance: float) -> bool:
        return self.random.random() < chance

    def drug(self) -> str:
        drug = self.random.choice(self.drugs)
        return drug.capitalize() if self.coin(0.3) else drug

    def eponym(self) -> str:
        name = self.random.choice(self.eponyms)
        return f"{name}-{self.random.choice(self.eponyms)}" if self.coin(0.15) else name

    def duration(self) -> str:
        unit = self.random.choice(("hours", "days", "weeks", "months", "years"))
        return (
            f"{self.random.randint(2, 30)} {unit}"
            if self.coin(0.8)
            else self.random.choice(
                ("two weeks", "a month", "three days", "several years", "1 day", "one week")
            )
        )

    def faker(self) -> Faker:
        return self.random.choice(self.fakers)

    def _faked(self, attribute: str) -> str:
        for _ in range(8):
            make = getattr(self.faker(), attribute, None)
            text = plain(str(make())).text.strip() if make is not None else ""
            mine = attribute not in {"first_name", "last_name", "city"} or self._mine(text)
            if text and "\x1a" not in text and mine:
                return text
        return str(getattr(self.us, attribute)())

    def invented(self) -> str:
        syllables = [
            self.random.choice(ONSETS) + self.random.choice(NUCLEI) for _ in range(self.random.randint(1, 3))
        ]
        return "".join(syllables).capitalize() + (self.random.choice(SURNAME_PARTS) if self.coin(0.5) else "")

    def first(self) -> str:
        draw = self.random.random()
        if draw < 0.4:
            return self.random.choice(self.first_names)
        if draw < 0.6 and not self.held_out:
            return self._faked("first_name")
        if draw < 0.75:
            return self.random.choice(self.romanised[self.random.choice(list(ROMANISED))][0])
        if draw < 0.95:
            # The more usual ones stand first.
            return self.first_names[int(len(self.first_names) * self.random.random() ** 4)]
        return self.invented()

    def last(self) -> str:
        draw = self.random.random()
        if draw < 0.25:
            last = self.random.choice(self.surnames)
        elif draw < 0.55:
            last = self.surnames[int(len(self.surnames) * self.random.random() ** 4)]
        elif draw < 0.75 and not self.held_out:
            last = self._faked("last_name")
        elif draw < 0.92:
            last = self.random.choice(self.romanised[self.random.choice(list(ROMANISED))][1])
        else:
            last = self.invented()
        if self.coin(0.04):
            last = f"{last}-{self.random.choice(self.surnames)}"
        if self.coin(0.03):
            last = (
                self.random.choice(("O'", "Mc", "van ", "de ", "von ", "De la ", "bin ", "St. ", "D'")) + last
            )
        return last

    def name(self) -> str:
        draw = self.random.random()
        if draw < 0.1:
            origin = self.romanised[self.random.choice(list(ROMANISED))]
            first, last = self.random.choice(origin[0]), self.random.choice(origin[1])
        else:
            first, last = self.first(), self.last()
        draw = self.random.random()
        if draw < 0.6:
            return f"{first} {last}"
        if draw < 0.68:
            return f"{first} {self.random.choice(string.ascii_uppercase)}. {last}"
        if draw < 0.74:
            return f"{first} {last[0]}."
        if draw < 0.79:
            return f"{first[0]}. {last}"
        if draw < 0.83:
            return f"{last}, {first}"
        if draw < 0.86:
            return f"{first} {self.first()} {last}"
        if draw < 0.9:
            return f"{self.random.choice(('Mr.', 'Mrs.', 'Ms.', 'Mr', 'Mrs', 'Ms', 'Miss'))} {last}"
        if draw < 0.92:
            return f"{first} {last} {self.random.choice(('Jr.', 'Sr.', 'III', 'PhD', 'MD'))}"
        if draw < 0.93:
            return f"{first[0]}.{self.random.choice(string.ascii_uppercase)}. {last}"
        if draw < 0.94:
            return f"{first[0]}.{last[0]}."
        return first if self.coin(0.7) else last

    def doctor(self) -> str:
        title = self.random.choice(("Dr.", "Dr", "Dr.", "Prof.", "Doctor", "Dr.", "Nurse", "NP", "PA"))
        draw = self.random.random()
        if draw < 0.5:
            return f"{title} {self.last()}"
        if draw < 0.75:
            return f"{title} {self.first()} {self.last()}"
        if draw < 0.9:
            return f"{title} {self.random.choice(string.ascii_uppercase)}. {self.last()}"
        return (
            f"{self.first()} {self.last()}{self.random.choice((', MD', ' MD', ', DO', ', NP', ', RN', ''))}"
        )

    def city(self) -> str:
        if self.coin(0.55):
            return self.cities[int(len(self.cities) * self.random.random() ** 3)][0]
        return self.random.choice(self.cities)[0] if self.coin(0.5) or self.held_out else self._faked("city")

    def country(self) -> str:
        return (
            self.random.choice(COUNTRIES) if self.coin(0.8) else plain(self.us.country()).text.split(" (")[0]
        )

    def place(self) -> str:
        draw = self.random.random()
        if draw < 0.55:
            return self.city()
        if draw < 0.7:
            return f"{self.city()}, {self.us.state_abbr() if self.coin(0.6) else self.country()}"
        if draw < 0.82:
            return self.country()
        if draw < 0.9:
            return self.us.state()
        if draw < 0.96:
            return f"{self.random.choice(('Lake', 'Mount', 'Fort', 'San', 'Santa', 'St.', 'New', 'North', 'South', 'East', 'West', 'Port', 'Upper', 'Downtown'))} {self.random.choice((self.last, self.city))()}"
        return f"{self.last()} {self.random.choice(('County', 'Park', 'Beach', 'Valley', 'Island', 'Springs', 'Bay', 'Square', 'Station', 'Bridge', 'Stadium', 'Mall', 'Heights', 'Creek'))}"

    def facility(self) -> str:
        owner = self.random.choice(
            (
                self.last,
                self.city,
                self.city,
                lambda: f"St. {self.first()}",
                lambda: f"{self.random.choice(ADJECTIVES)}",
                lambda: f"{self.random.choice(ADJECTIVES)} {self.city()}",
            )
        )()
        kind = self.random.choice(FACILITIES)
        draw = self.random.random()
        if draw < 0.62:
            text = f"{owner} {kind}"
        elif draw < 0.72:
            text = f"{owner} {self.random.choice(('Memorial', 'General', 'Regional', 'University', 'Community', 'County', 'Veterans', 'Baptist', 'Presbyterian'))} {kind}"
        elif draw < 0.8:
            text = f"{self.random.choice(('University of', 'Hospital of', 'Clinic of', 'Institute of', 'Medical College of'))} {self.city()}"
        elif draw < 0.86:
            text = f"{self.last()}{self.random.choice((' & ', '-', ' '))}{self.last()} {kind}"
        elif draw < 0.9:
            text = f"{self.city()} {self.random.choice(('General', 'Memorial', 'Presbyterian', 'Health', 'Mercy', 'VA'))}"
        elif draw < 0.93:
            text = f"{''.join(self.random.choices(string.ascii_uppercase, k=self.random.randint(3, 4)))} {self.random.choice(('Hospital', 'Medical Center', 'Health', 'Clinic'))}"
        elif draw < 0.96:
            text = f"{self.last()}-{self.city()}"
        else:
            text = f"{owner}'s {self.random.choice(('Hospital', 'Clinic', 'Pharmacy', 'School'))}"
        if self.coin(0.1):
            text = f"{text}, {self.city()}"
        elif self.coin(0.04):
            text = f"{text} in {self.city()}"
        return text

    def address(self) -> str:
        draw = self.random.random()
        if draw < 0.55:
            separator = self.random.choice((", ", "\n", ", ", " "))
            text = plain(self._faked("address")).text.replace("\n", separator)
        elif draw < 0.8:
            text = plain(self._faked("street_address")).text.replace("\n", ", ")
        elif draw < 0.88:
            text = f"{self.random.randint(1, 9999)} {self.last()} {self.random.choice(STREETS)}"
        elif draw < 0.94:
            text = f"{self.random.choice(('PO Box', 'P.O. Box', 'Box', 'Postfach', 'P O Box', 'Apartado', 'Private Bag'))} {self.random.randint(1, 99999)}, {self.city()}"
        else:
            text = f"{self.last()} {self.random.choice(STREETS)} {self.random.randint(1, 300)}, {self.digits(5)} {self.city()}"
        return text

    def date(self) -> Value:
        random_ = self.random
        when = self.us.date_between("-90y", "+2y")
        forms = (
            "%B %d, %Y",
            "%B %-d, %Y",
            "%B %-d",
            "%d %B %Y",
            "%-d %b %Y",
            "%m/%d/%Y",
            "%-m/%-d/%y",
            "%Y-%m-%d",
            "%b %-d, %Y",
            "%b %-d",
            "%d.%m.%Y",
            "%B %Y",
            "%d/%m/%Y",
            "%-m/%-d",
            "%A, %B %-d",
            "%A %-d %B",
            "%Y/%m/%d",
            "%d-%b-%Y",
            "%b %Y",
            "%m-%d-%Y",
            "the %-dth of %B",
            "%-d. %B %Y",
        )
        if self.coin(0.08):
            return Value(
                random_.choice(
                    (
                        "the 3rd",
                        "the 14th",
                        "the 21st",
                        "Christmas Day",
                        "New Year's Eve",
                        "Thanksgiving",
                        "Valentine's Day",
                        "mid-October",
                        "early March",
                        "the first of May",
                        "Labor Day",
                        "last Thursday",
                        "last Monday",
                        "next Tuesday",
                        "last July",
                        "last October",
                        "this past Friday",
                        "last Christmas",
                        "Independence Day",
                        "Halloween",
                    )
                ),
                "DATE_TIME",
            )
        text = when.strftime(random_.choice(forms))
        if self.coin(0.15) and text[0].isalpha():
            text = text.replace(f" {when.day},", f" {when.day}{'st' if when.day % 10 == 1 else 'th'},")
        return Value(text, "DATE_TIME")

    def digits(self, count: int) -> str:
        return "".join(self.random.choices(string.digits, k=count))

    def identifier(self) -> str:
        draw = self.random.random()
        letters = "".join(self.random.choices(string.ascii_uppercase, k=self.random.randint(1, 4)))
        if draw < 0.25:
            return self.digits(self.random.randint(5, 12))
        if draw < 0.5:
            return f"{letters}{self.random.choice(('-', '', '-', '#', ' ', '_'))}{self.digits(self.random.randint(3, 9))}"
        if draw < 0.62:
            return f"{self.digits(self.random.randint(2, 4))}-{self.digits(self.random.randint(2, 5))}"
        if draw < 0.72:
            return f"{letters}-{self.digits(3)}-{self.digits(self.random.randint(2, 5))}"
        if draw < 0.84:
            return "".join(
                self.random.choices(string.ascii_uppercase + string.digits, k=self.random.randint(6, 12))
            ) + self.random.choice(string.digits)
        if draw < 0.92:
            return f"{self.digits(self.random.randint(3, 7))}{self.random.choice(string.ascii_uppercase)}"
        return f"#{self.digits(self.random.randint(4, 8))}"

    def phone(self) -> str:
        return (
            plain(self._faked("phone_number")).text
            if self.coin(0.7)
            else self.us.numerify(
                self.random.choice(
                    (
                        "###-###-####",
                        "(###) ###-####",
                        "+1 ### ### ####",
                        "0## ### ####",
                        "+## ## #### ####",
                        "### ####",
                        "0#-##-##-##-##",
                        "+### ## ### ####",
                    )
                )
            )
        )
