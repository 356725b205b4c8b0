"""The words of reports, language by language. Which language is wanted is decided in content/report_language."""

from typing import Final

from valija.content.words.english import ENGLISH
from valija.content.words.spanish import SPANISH
from valija.content.words.vocabulary import Advice, Language, Vocabulary

__all__ = ["VOCABULARIES", "Advice", "Language", "Vocabulary"]

VOCABULARIES: Final[dict[Language, Vocabulary]] = {"en": ENGLISH, "es": SPANISH}
