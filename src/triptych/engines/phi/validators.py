"""Check digits and ranges. They make a match surer, never drop it: a made-up number is redacted too."""

import re
from collections.abc import Callable

_NOT_ALNUM = re.compile(r"[^0-9A-Za-z]")


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value)


def luhn(value: str) -> bool:
    """ISO/IEC 7812-1, payment cards and IMEI."""
    digits = _digits(value)
    if len(digits) < 2:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def npi(value: str) -> bool:
    """National Provider Identifier: Luhn over the number after 80840 (45 CFR 162.406)."""
    digits = _digits(value)
    return len(digits) == 10 and digits[0] in "12" and luhn("80840" + digits)


def us_ssn(value: str) -> bool:
    """Ranges the Social Security Administration issues from."""
    digits = _digits(value)
    return (
        len(digits) == 9
        and digits[:3] not in {"000", "666"}
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def dea(value: str) -> bool:
    """DEA registration number: (d1+d3+d5) + 2*(d2+d4+d6) ends in d7."""
    digits = _digits(value)[-7:]
    if len(digits) != 7:
        return False
    numbers = [int(digit) for digit in digits]
    return (sum(numbers[0:6:2]) + 2 * sum(numbers[1:6:2])) % 10 == numbers[6]


def mbi(value: str) -> bool:
    """Medicare Beneficiary Identifier, format of CMS."""
    letter = "[AC-HJKMNP-RT-Y]"
    pattern = rf"[1-9]{letter}(?:{letter}|\d)\d{letter}(?:{letter}|\d)\d{letter}{{2}}\d\d"
    return re.fullmatch(pattern, _NOT_ALNUM.sub("", value).upper()) is not None


_VIN_VALUES = dict(zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", "012345678912345678123457923456789", strict=True))
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(value: str) -> bool:
    """Check digit of 49 CFR 565.15."""
    value = value.upper()
    if len(value) != 17 or any(letter not in _VIN_VALUES for letter in value):
        return False
    total = sum(int(_VIN_VALUES[letter]) * weight for letter, weight in zip(value, _VIN_WEIGHTS, strict=True))
    return value[8] == "0123456789X"[total % 11]


def iban(value: str) -> bool:
    """ISO 13616: mod 97."""
    compact = _NOT_ALNUM.sub("", value).upper()
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def nhs(value: str) -> bool:
    """NHS number: mod 11."""
    digits = _digits(value)
    if len(digits) != 10:
        return False
    check = (
        11 - sum(int(digit) * weight for digit, weight in zip(digits[:9], range(10, 1, -1), strict=True)) % 11
    )
    return check != 10 and int(digits[9]) == check % 11


Validator = Callable[[str], bool]
