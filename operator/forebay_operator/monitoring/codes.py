"""Every reason for which a monitoring revision is not taken: one code each. `python -m forebay_operator.monitoring.codes`
writes docs/monitoring/codes.md.

A code never changes its meaning. The hundreds say which stage found it, and that is the reason in a policy's status.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

STAGES: Mapping[str, tuple[str, str]] = {
    # first digit -> reason in a policy's status, heading
    "0": ("FetchFailed", "Reading the commit"),
    "1": ("VerifyFailed", "Who signed it"),
    "2": ("RenderFailed", "Templates and standards"),
    "3": ("LintFailed", "Expressions"),
    "4": ("LintFailed", "Alerts and recordings"),
    "5": ("TestFailed", "Unit tests"),
    "6": ("LintFailed", "Routes"),
    "7": ("LintFailed", "Dashboards"),
    "8": ("GuardTripped", "Guards"),
}


@dataclass(frozen=True, slots=True)
class Code:
    """`bad` and `good`: what is refused, and what to write in its stead."""

    title: str
    why: str
    bad: str = ""
    good: str = ""


CODES: Mapping[str, Code] = {
    "MAC001": Code(
        "only plain files",
        "A link or a submodule points outside what was signed.",
        "a symbolic link",
        "the file itself",
    ),
    "MAC002": Code(
        "a path stays inside",
        "A name such as `..` or `.git` is never honest.",
        "templates/../../etc",
        "templates/rules",
    ),
    "MAC003": Code(
        "within the limits",
        "Memory of the operator is shared by all sources.",
        "a file of 9 MiB",
        "what rules need; data belongs elsewhere",
    ),
    "MAC004": Code(
        "there is a repository",
        "An empty folder must not read as: remove every rule.",
        "no forebay.yaml",
        "forebay mac init",
    ),
    "MAC005": Code(
        "text is UTF-8",
        "What cannot be shown in a review cannot be reviewed.",
        "a binary file",
        "text, such as a dashboard's JSON",
    ),
    "MAC101": Code("signed", "Anyone who can push could silence a page.", "git commit", "git commit -S"),
    "MAC102": Code(
        "signed by a trusted key",
        "The key has to be one that the source lists.",
        "a stranger's key",
        "a key of the source's trusted keys",
    ),
    "MAC103": Code(
        "the signature fits",
        "The commit was changed after it was signed.",
        "git commit --amend by another",
        "sign again what was changed",
    ),
    "MAC201": Code(
        "template syntax", "Jinja2 with `[[ ]]`, `[% %]`, `[# #]`.", "[% for c in clusters", "[% for c in clusters %]"
    ),
    "MAC202": Code(
        "nothing undefined",
        "An empty string in a matcher matches everything.",
        "[[ clustr.name ]]",
        "[[ cluster.name ]]",
    ),
    "MAC203": Code("sandbox", "Templates see values, never Python.", "[[ ''.__class__ ]]", "[[ cluster.name ]]"),
    "MAC204": Code(
        "render limits",
        "Loops, output and time are bounded: one source must not starve another.",
        "range(10**9)",
        "a loop over clusters",
    ),
    "MAC205": Code(
        "YAML",
        "What a template renders has to be YAML without duplicate keys or aliases.",
        "for: 5m twice",
        "for: 5m, once",
    ),
    "MAC206": Code("schema", "A field that nobody reads is a typo.", "severty: page", "severity: page"),
    "MAC207": Code(
        "not empty", "A render without a rule must not read as: remove every rule.", "groups: []", "one rule at least"
    ),
    "MAC208": Code(
        "made for this operator", "forebay.yaml asks for a newer operator or another schema.", "schema: 2", "schema: 1"
    ),
    "MAC301": Code("PromQL syntax", "Prometheus refuses the whole file.", "sum(rate(x[5m])", "sum(rate(x[5m]))"),
    "MAC302": Code("a rule gives an instant vector", "A range vector or a string never fires.", "up[5m]", "up == 0"),
    "MAC303": Code(
        "known metric", "A typo in a name is silence for ever.", "forebay_s3_request_total", "forebay_s3_requests_total"
    ),
    "MAC304": Code(
        "known label",
        "A label that no series has matches nothing, or groups all into one.",
        'up{clster="a"}',
        'up{cache_cluster="a"}',
    ),
    "MAC305": Code(
        "within the target's PromQL",
        "The Prometheus named in forebay.yaml cannot parse it.",
        "limitk(3, up) on 2.42",
        "topk(3, up)",
    ),
    "MAC306": Code(
        "counters through rate",
        "A counter's value depends on when its process started.",
        "forebay_syncs_total > 5",
        "increase(forebay_syncs_total[1h]) > 5",
    ),
    "MAC307": Code(
        "rate only of counters", "On a gauge, each fall reads as a restart.", "rate(up[5m])", "avg_over_time(up[5m])"
    ),
    "MAC308": Code(
        "wide enough windows", "Below four scrapes, one lost scrape leaves a gap.", "rate(x[30s])", "rate(x[2m])"
    ),
    "MAC309": Code(
        "the condition is one",
        "Without a comparison an alert fires as long as the series exists.",
        "expr: up",
        "expr: up == 0",
    ),
    "MAC310": Code(
        "no value in a label", "Each value would be another alert.", "load: '{{ $value }}'", "an annotation"
    ),
    "MAC401": Code(
        "alert names", "Forebay<Thing><State>, so that a name says whose it is.", "highErrors", "ForebayReadErrorsHigh"
    ),
    "MAC402": Code(
        "recording names",
        "level:metric:operation, so that a name says what is left of the labels.",
        "errors",
        "cache_cluster:s3_errors:rate5m",
    ),
    "MAC403": Code(
        "severity", "page, ticket or info: act now, act today, know.", "severity: critical", "severity: page"
    ),
    "MAC404": Code(
        "whose alert it is",
        "owner and namespace say who acts and where; cache_cluster on what, unless its scope is wider.",
        "sum(up) == 0",
        "sum by (namespace, cache_cluster) (up) == 0",
    ),
    "MAC405": Code(
        "said in words",
        "summary and description; page and ticket also runbook_url.",
        "no description",
        "summary, description and runbook_url",
    ),
    "MAC406": Code(
        "the runbook exists",
        "A page at night needs a next step.",
        "runbooks/ForebayX.md missing",
        "runbooks/ForebayX.md",
    ),
    "MAC407": Code(
        "no page for an instance",
        "Instances come and go; detail lives on dashboards.",
        "up == 0",
        "sum by (namespace, cache_cluster) (up) == 0",
    ),
    "MAC408": Code(
        "pages are service levels",
        "A page is a burn rate, a total loss or a failure domain, and says which in its label `signal`.",
        "a page on CPU",
        "a page on reads that fail; CPU as info",
    ),
    "MAC409": Code("long enough", "page for >= 2m, ticket for >= 15m, absent() always with for.", "for: 0s", "for: 2m"),
    "MAC410": Code(
        "hysteresis",
        "A gauge at its threshold rings all day: keep_firing_for or *_over_time.",
        "used / capacity > 0.9",
        "avg_over_time of it",
    ),
    "MAC411": Code(
        "ratios guarded",
        "One error of two requests is no outage: add `and requests > N`.",
        "a / b > 0.1",
        "a / b > 0.1 and b > 100",
    ),
    "MAC412": Code(
        "names are unique",
        "Two groups of one name overwrite each other.",
        "two groups `slo`",
        "slo-errors and slo-latency",
    ),
    "MAC413": Code(
        "budgets",
        "Rules cost memory at every evaluation.",
        "300 KiB of rules",
        "one rule keyed by labels in place of one for each cluster",
    ),
    "MAC414": Code(
        "only known severities of scope",
        "scope is cluster, origin, fleet or operator.",
        "scope: galaxy",
        "scope: origin",
    ),
    "MAC501": Code(
        "a firing test",
        "An alert that was never seen firing may never fire.",
        "no alert_rule_test with exp_alerts",
        "a case whose exp_alerts lists what fires",
    ),
    "MAC502": Code(
        "a silent test",
        "An alert that was never seen silent may never stop.",
        "no alert_rule_test with exp_alerts: []",
        "a case with exp_alerts: []",
    ),
    "MAC503": Code(
        "tests pass",
        "promtool ran them on what was rendered.",
        "a summary that says something else than exp_annotations",
        "the words that promtool got",
    ),
    "MAC504": Code(
        "tests can be read",
        "A test names a rule file that is rendered and alerts that exist.",
        "rule_files: [nowhere.yaml]",
        "rule_files: [reads.yaml]",
    ),
    "MAC601": Code(
        "grouped by failure domain",
        "pages by origin, tickets by owner and alertname: one cause, one message.",
        "group_by: ['...']",
        "group_by: [origin]",
    ),
    "MAC602": Code(
        "calm timings",
        "group_wait >= 30s, group_interval >= 5m, repeat 4h for a page, 24h for a ticket.",
        "group_interval: 10s",
        "group_interval: 5m",
    ),
    "MAC603": Code(
        "receivers exist", "A route to nobody drops alerts without a word.", "receiver: pagr", "receiver: pages"
    ),
    "MAC604": Code(
        "matchers", "A matcher has to parse and to name a label that alerts carry.", "severity==page", 'severity="page"'
    ),
    "MAC605": Code(
        "every severity has a way",
        "A page or a ticket that no route takes ends at the root.",
        "no route for page",
        "matchers: ['severity=\"page\"']",
    ),
    "MAC606": Code(
        "routing tests pass",
        "tests/routes.yaml says who hears of what; a change of routes must not change that unseen.",
        "receivers: [pages] where a ticket goes",
        "receivers: [tickets]",
    ),
    "MAC701": Code("dashboards", "JSON with a title and a stable uid of its own.", "no uid", '"uid": "fleet"'),
    "MAC702": Code(
        "panels ask for what exists",
        "An empty panel at night misleads.",
        "forebay_s3_request_total",
        "forebay_s3_requests_total",
    ),
    "MAC801": Code(
        "size guard",
        "What is rendered has to fit the objects that carry it.",
        "rules over maxRuleBytes",
        "fewer rules, or several files",
    ),
    "MAC802": Code(
        "prune guard",
        "A revision that removes most of what is there is a mistake until somebody says it is not.",
        "90% of the rules removed",
        "remove them in steps, or annotate the policy",
    ),
}


def reason(code: str) -> str:
    """The reason in a policy's status."""
    return STAGES[code[3]][0]


def page() -> str:
    """docs/monitoring/codes.md."""
    lines = [
        "# Codes",
        "",
        "Every reason for which `forebay mac lint` and the operator refuse a revision. Written by",
        "`python -m forebay_operator.monitoring.codes`.",
    ]
    for digit, (why, heading) in STAGES.items():
        lines += ["", f"## {heading} ({why})", "", "| code | rule | why | refused | instead |", "|---|---|---|---|---|"]
        cells = [(name, code) for name, code in CODES.items() if name[3] == digit]
        lines += [f"| {n} | {c.title} | {c.why} | {quoted(c.bad)} | {quoted(c.good)} |" for n, c in cells]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


if __name__ == "__main__":
    sys.stdout.write(page())
