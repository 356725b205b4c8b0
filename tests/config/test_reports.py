"""The language of reports as it is configured."""

from pathlib import Path

import pytest

from tests.config.facts import FACTS
from valija.config import ConfigError, parse
from valija.content.options import ReportOptions


def reports(text: str) -> ReportOptions:
    return parse(f"[queue]\n{text}", "valija.toml", Path("/etc/valija"), FACTS).reports


def test_each_message_tells_its_language_by_default() -> None:
    assert reports("") == ReportOptions("auto", "both")


def test_one_language_for_all_or_for_the_rest() -> None:
    assert reports('report_language = "es"').language == "es"
    assert reports('report_fallback_language = "en"') == ReportOptions("auto", "en")


@pytest.mark.parametrize("key", ["report_language", "report_fallback_language"])
def test_a_language_that_is_not_spoken_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        reports(f'{key} = "fr"')
    (line,) = str(refused.value).splitlines()
    assert f"[queue] {key}" in line
    assert "'fr'" in line or '"fr"' in line
    assert '"both"' in line
