"""The oracles of the end-to-end test, tested: each promise, kept and broken.

A judge that never says no would let everything pass. Run: `python3 -m unittest discover tests/e2e`.
"""

import unittest

import exposition

HEAD = "# HELP {0} h\n# TYPE {0} {1}\n"
SPANS = (
    HEAD.format("laghound_receiver_accepted_spans_total", "counter")
    + 'laghound_receiver_accepted_spans_total{transport="grpc"} 7\n'
    + 'laghound_receiver_accepted_spans_total{transport="http"} 5\n'
    + HEAD.format("laghound_spans_analyzed_total", "counter")
    + "laghound_spans_analyzed_total 8\n"
    + HEAD.format("laghound_spans_dropped_total", "counter")
    + 'laghound_spans_dropped_total{reason="late"} 1\n'
    + HEAD.format("laghound_pending_spans", "gauge")
    + "laghound_pending_spans 3\n"
)


def scored(*rows, infos=None):
    """A page with these (service, score) and an info for each service of `infos`."""
    text = HEAD.format("laghound_suspect_score", "gauge")
    for service, score in rows:
        text += f'laghound_suspect_score{{service_name="{service}",suspect_kind="service"}} {score}\n'
    text += HEAD.format("laghound_suspect_info", "gauge")
    for service in [s for s, _ in rows] if infos is None else infos:
        text += f'laghound_suspect_info{{service_name="{service}",suspect_kind="service",reason="self_time"}} 1\n'
    return exposition.read(text)


class Form(unittest.TestCase):
    def test_a_good_page_has_nothing_broken(self):
        self.assertEqual(exposition.read(SPANS).broken, [])

    def test_escaped_labels_come_back_as_they_were(self):
        page = exposition.read(HEAD.format("m", "gauge") + 'm{a="x\\\\n\\"}, {\\n",b=""} 1\n')
        self.assertEqual(page.broken, [])
        self.assertEqual(page.series("m"), [({"a": 'x\\n"}, {\n', "b": ""}, 1.0)])

    def test_bad_pages_are_broken(self):
        twice = HEAD.format("m", "gauge") + 'm{a="1",b="2"} 1\nm{b="2",a="1"} 2\n'
        bad = [twice, "m 1\n", HEAD.format("m", "gauge") + 'm{a="x"y"} 1\n', HEAD.format("m", "gauge") * 2]
        bad.append(HEAD.format("m", "gauge") + 'm{a="1",a="2"} 1\n')
        for text in bad:
            self.assertTrue(exposition.read(text).broken, text)

    def test_parts_of_a_histogram_belong_to_its_family(self):
        text = HEAD.format("h", "histogram") + 'h_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
        self.assertEqual(exposition.read(text).broken, [])


class Promises(unittest.TestCase):
    def test_accounting(self):
        self.assertIsNone(exposition.accounting(exposition.read(SPANS)))
        lost = SPANS.replace("analyzed_total 8", "analyzed_total 7")
        self.assertIn("analyzed 7", exposition.accounting(exposition.read(lost)))

    def test_only_counters_may_not_go_back(self):
        before = exposition.read(SPANS)
        fewer_pending = exposition.read(SPANS.replace("pending_spans 3", "pending_spans 0"))
        self.assertIsNone(exposition.went_back(before, fewer_pending))
        back = exposition.read(SPANS.replace("analyzed_total 8", "analyzed_total 7"))
        self.assertIn("from 8.0 to 7.0", exposition.went_back(before, back))

    def test_suspects_come_highest_first(self):
        rows = exposition.suspects(scored(("b", 0.2), ("a", 0.7)))
        self.assertEqual(rows, [(0.7, "a", "service"), (0.2, "b", "service")])

    def test_scores_are_shares_and_have_reasons(self):
        self.assertIsNone(exposition.verdict(scored(("a", 0.7), ("b", 0.3))))
        self.assertIn("shares", exposition.verdict(scored(("a", 0.7), ("b", 0.4))))
        self.assertIn("shares", exposition.verdict(scored(("a", -0.1))))
        self.assertIn("infos", exposition.verdict(scored(("a", 0.7), infos=["b"])))


if __name__ == "__main__":
    unittest.main()
