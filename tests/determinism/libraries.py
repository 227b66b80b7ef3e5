"""Popular libraries, each used as workflow code would use it.

Each function imports its library by itself and returns text that depends on what the library did.
"""

from __future__ import annotations

import datetime as dt
import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES: dict[str, Callable[[], object]] = {}
DAY = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)


def library(use: Callable[[], object]) -> Callable[[], object]:
    LIBRARIES[use.__name__] = use
    return use


def same(value: int) -> int:
    return value


def load(name: str) -> Any:
    return import_module(name)


# Data, and what it must look like -----------------------------------------------------------------


@library
def pydantic() -> object:
    module = load("pydantic")
    item = module.create_model(
        "Item", n=(int, ...), at=(dt.datetime, module.Field(default_factory=dt.datetime.now))
    )
    adapted = module.TypeAdapter(list[item]).validate_python([{"n": "1"}])
    called = module.validate_call(same)(2)
    return [adapted[0].model_dump_json(), called, item.model_json_schema()]


@library
def attrs() -> object:
    module = load("attrs")
    made = module.make_class(
        "Made", {"x": module.field(converter=int), "y": module.field(factory=list)}
    )
    return module.asdict(made("2"))


@library
def cattrs() -> object:
    made = load("attrs").make_class("Made", ["x"])
    return str(load("cattrs").structure({"x": 3}, made))


@library
def msgspec() -> object:
    module = load("msgspec")
    made = module.defstruct("Made", [("x", int)])
    return str(module.convert({"x": 1}, made)) + str(module.json.decode(b"[1, 2]"))


@library
def orjson() -> object:
    return load("orjson").dumps({"at": DAY}).decode()


@library
def marshmallow() -> object:
    module = load("marshmallow")
    schema = module.Schema.from_dict({"n": module.fields.Int(), "at": module.fields.DateTime()})
    return str(schema().load({"n": "1", "at": "2024-01-01T00:00:00"}))


@library
def dacite() -> object:
    data_class = load("dataclasses").make_dataclass("Made", [("x", int)])
    return str(load("dacite").from_dict(data_class, {"x": 1}))


@library
def jsonschema() -> object:
    module = load("jsonschema")
    checker = module.Draft202012Validator({"type": "string"}, format_checker=module.FormatChecker())
    return [each.message for each in checker.iter_errors(1)]


@library
def yaml() -> object:
    module = load("yaml")
    return module.safe_dump(module.safe_load("a: [1, 2024-01-01]"))


@library
def tomlkit() -> object:
    return load("tomlkit").dumps({"a": 1})


@library
def protobuf() -> object:
    stamp = load("google.protobuf.timestamp_pb2").Timestamp()
    stamp.GetCurrentTime()
    return str(stamp)


@library
def sortedcontainers() -> object:
    return list(load("sortedcontainers").SortedDict({2: "b", 1: "a"}).items())


@library
def more_itertools() -> object:
    module = load("more_itertools")
    return [list(module.chunked([1, 2, 3], 2)), module.random_combination(range(100), 3)]


@library
def cachetools() -> object:
    cache = load("cachetools").TTLCache(10, 60)
    cache["a"] = 1
    return cache["a"]


# Time ---------------------------------------------------------------------------------------------


@library
def pytz() -> object:
    module = load("pytz")
    berlin = module.timezone("Europe/Berlin")
    local = berlin.localize(DAY.replace(tzinfo=None))
    return [str(local), module.country_timezones("de"), str(dt.datetime.now(berlin))]


@library
def tzdata() -> object:
    zone = load("zoneinfo").ZoneInfo("America/New_York")
    names = load("importlib.resources").read_text("tzdata", "zones").splitlines()
    return [str(DAY.astimezone(zone)), len(names) > 100]


@library
def dateutil() -> object:
    tz, rrule = load("dateutil.tz"), load("dateutil.rrule")
    days = list(rrule.rrule(rrule.DAILY, count=2))
    parsed = load("dateutil.parser").parse("10 Oct")
    return [str(parsed), str(days), str(dt.datetime.now(tz.gettz("Europe/Rome")))]


@library
def pendulum() -> object:
    module = load("pendulum")
    now = module.now("Europe/Paris")
    return [str(now.add(days=1)), str(module.today("UTC")), now.diff_for_humans()]


@library
def arrow() -> object:
    module = load("arrow")
    return [str(module.utcnow()), module.now("US/Pacific").humanize()]


@library
def croniter() -> object:
    module = load("croniter")
    return [module.croniter("*/5 * * * *", DAY).get_next(), module.croniter("@hourly").get_next()]


@library
def humanize() -> object:
    module = load("humanize")
    return [module.naturaltime(dt.timedelta(hours=3)), module.naturaldate(DAY)]


# Text ---------------------------------------------------------------------------------------------


@library
def jinja2() -> object:
    module = load("jinja2")
    loader = module.DictLoader({"page": "{% include 'part' %}", "part": "{{ [1, 2, 3]|random }}"})
    return module.Environment(loader=loader, autoescape=True).get_template("page").render()


@library
def rich() -> object:
    console = load("rich.console").Console(file=io.StringIO(), width=40)
    table = load("rich.table").Table("a")
    table.add_row("b")
    console.print(table, "[red]text[/] :smile:")
    return console.file.getvalue()


@library
def pygments() -> object:
    lexer = load("pygments.lexers").get_lexer_by_name("python")
    formatter = load("pygments.formatters").get_formatter_by_name("html")
    return load("pygments").highlight("a = 1", lexer, formatter)


@library
def markdown_it() -> object:
    return load("markdown_it").MarkdownIt().render("# heading")


@library
def regex() -> object:
    return load("regex").findall(r"\p{L}+", "ab cd")


@library
def lark() -> object:
    return str(load("lark").Lark('start: "a"').parse("a"))


@library
def click() -> object:
    module = load("click")
    option = module.Option(["--name"], envvar="PERDURE_NOWHERE", default="x")
    return module.Command("it", params=[option]).make_context("it", []).params


@library
def packaging() -> object:
    return str(load("packaging.requirements").Requirement("perdure>=0.1; python_version > '3'"))


@library
def importlib_metadata() -> object:
    module = load("importlib.metadata")
    points = module.entry_points(group="pytest11")
    return [module.version("pydantic"), len(list(points)) > 0]


# Networks, without using one ----------------------------------------------------------------------


@library
def httpx() -> object:
    module = load("httpx")
    request = module.Client().build_request("POST", "https://h/", json={"a": 1}, params={"b": 2})
    upload = module.Request("POST", "https://h/", files={"file": b"x"})
    return [str(request.url), request.read().decode(), upload.read().decode()]


@library
def requests() -> object:
    module = load("requests")
    request = module.Request("POST", "https://h/", data={"a": 1}, files={"file": b"x"})
    return module.Session().prepare_request(request).body.decode()


@library
def yarl() -> object:
    return str(load("yarl").URL("https://h/a") % {"b": 1})


@library
def werkzeug() -> object:
    routing = load("werkzeug.routing")
    rules = routing.Map([routing.Rule("/a/<int:n>", endpoint="a")])
    return rules.bind("h").match("/a/1")


@library
def starlette() -> object:
    url = load("starlette.datastructures").URL("https://h/a").replace(path="/b")
    return [str(url), str(load("starlette.routing").compile_path("/a/{n:int}")[1])]


@library
def fastapi() -> object:
    app = load("fastapi").FastAPI()
    app.get("/{number}")(same)
    return list(app.openapi()["paths"])


@library
def sqlalchemy() -> object:
    module = load("sqlalchemy")
    table = module.Table("orders", module.MetaData(), module.Column("id", module.Integer))
    statement = module.select(table).where(table.c.id == 1)
    return str(statement.compile(compile_kwargs={"literal_binds": True}))


# Logs, traces, retries, units, ids ----------------------------------------------------------------


@library
def structlog() -> object:
    module = load("structlog")
    stamp = module.processors.TimeStamper(fmt="iso")
    lines: list[Any] = []

    def seen(_logger: object, _method: str, event: Any) -> str:
        lines.append(event["event"])
        return ""

    module.wrap_logger(module.PrintLogger(io.StringIO()), processors=[stamp, seen]).info("text")
    return lines


@library
def loguru() -> object:
    logger, lines = load("loguru").logger, list[str]()
    logger.remove()
    sink = logger.add(lines.append, format="{message}")
    logger.info("text")
    logger.remove(sink)
    return lines


@library
def opentelemetry_api() -> object:
    tracer = load("opentelemetry.trace").get_tracer("tests")
    with tracer.start_as_current_span("span") as span:
        span.set_attribute("a", 1)
    baggage, context = load("opentelemetry.baggage"), load("opentelemetry.context")
    token = context.attach(baggage.set_baggage("a", "b"))
    found = baggage.get_baggage("a")
    context.detach(token)
    return found


@library
def opentelemetry_sdk() -> object:
    trace, export = load("opentelemetry.sdk.trace"), load("opentelemetry.sdk.trace.export")
    memory = load("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    with provider.get_tracer("tests").start_as_current_span("span") as span:
        span.add_event("event")
    return [len(memory.get_finished_spans()), load("random").random()]


@library
def tenacity() -> object:
    module = load("tenacity")
    tries: list[int] = []

    def fails_twice() -> int:
        tries.append(1)
        return len(tries) if len(tries) > 2 else 1 // 0

    retry = module.Retrying(stop=module.stop_after_attempt(3), sleep=same)
    jitter = module.wait_random(0, 9)(module.RetryCallState(None, None, (), {}))
    return [retry(fails_twice), jitter]


@library
def anyio() -> object:
    send, receive = load("anyio").create_memory_object_stream[int](1)
    send.send_nowait(1)
    return receive.receive_nowait()


@library
def pint() -> object:
    return str(load("pint").UnitRegistry()("3 km").to("m"))


@library
def shortuuid() -> object:
    return [load("shortuuid").uuid(), load("shortuuid").random()]
