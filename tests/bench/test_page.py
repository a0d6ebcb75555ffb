"""Each benchmark writes its own part of the page of figures."""

import pytest

from bench import failover, layer2, page


def test_only_the_part_between_the_marks_of_a_page_is_written(tmp_path):
    file = tmp_path / "page.md"
    other = f"{page.begin('other')}\nother\n{page.END}\n"
    file.write_text(f"{other}before\n{page.begin('command')}\nold\n{page.END}\nafter\n{other}")
    for text in ("first", "second"):
        page.write(file, "command", text)
        part = f"{page.begin('command')}\n\n{text}\n\n{page.END}\n"
        assert file.read_text() == f"{other}before\n{part}after\n{other}"


def test_a_page_without_marks_is_left_alone(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("text\n")
    with pytest.raises(ValueError, match="has no line"):
        page.write(file, "command", "new")
    assert file.read_text() == "text\n"


@pytest.mark.parametrize("benchmark", [layer2, failover])
def test_the_page_of_figures_has_the_marks(benchmark):
    text = page.PAGE.read_text()
    assert text.count(page.begin(benchmark.COMMAND)) == 1
    assert page.END in text.partition(page.begin(benchmark.COMMAND))[2]
