"""What a client's record says."""

from ipaddress import IPv4Address

from bench.answers import Question, doubled, gap, lost, overlaps, taken_over

ADDRESS = IPv4Address("172.30.1.0")


def asked(*who, start=0.0, period=0.01):
    """One question each period, each answered after a millisecond by the nodes in the text."""
    return [
        Question(start + n * period, dict.fromkeys(nodes.split(), start + n * period + 0.001))
        for n, nodes in enumerate(who)
    ]


def test_a_gap_lasts_from_the_first_lost_question_to_the_next_answered_one():
    questions = asked("a", "", "", "b", "", "b")
    assert (lost(questions), round(gap(questions), 3)) == (3, 0.02)


def test_a_gap_that_does_not_end_lasts_to_the_last_question():
    assert round(gap(asked("a", "", "", "")), 3) == 0.02


def test_no_lost_question_is_no_gap():
    assert gap(asked("a", "b")) == 0.0


def test_the_new_owner_counts_from_its_first_answer():
    questions = asked("a", "b", "", "b")
    assert taken_over(questions, 0.0, "a") == 0.011
    assert taken_over(questions, 0.02, "a") == 0.031
    assert taken_over(questions, 0.0, "b") == 0.001
    assert taken_over(asked("a", "a"), 0.0, "a") is None


def test_a_handover_without_common_answers_is_no_overlap():
    assert overlaps(ADDRESS, asked("a", "a", "b", "b")) == []


def test_two_that_answer_at_the_same_time_overlap():
    questions = asked("a", "a b", "a b", "b")
    (overlap,) = overlaps(ADDRESS, questions)
    assert (overlap.nodes, round(overlap.seconds, 3), doubled(questions)) == (("a", "b"), 0.01, 2)


def test_a_node_that_answers_only_some_questions_answers_all_the_time():
    (overlap,) = overlaps(ADDRESS, asked("a b", "a", "a", "a b"))
    assert round(overlap.seconds, 3) == 0.03


def test_one_late_answer_is_an_overlap():
    questions = asked(*["b"] * 20)
    questions[0] = Question(0.0, {"b": 0.001, "a": 0.101})
    (overlap,) = overlaps(ADDRESS, questions)
    assert (overlap.start, overlap.seconds) == (0.101, 0.0)


def test_addresses_that_go_back_and_forth_do_not_overlap():
    assert overlaps(ADDRESS, asked(*["a"] * 30, *["b"] * 30, *["a"] * 30)) == []
