"""One service with two workers, from its first answer to its rows in the lake; tests go in their order."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from prometheus_client.mmap_dict import MmapedDict

from flows.health import probes
from services.bento.ledger import Entry, Ledger
from services.bento.registry import Registry
from services.bento.store import LocalStore
from tests.factories import ask, run_table, settings_of, shipped, wait_until
from tests.serving import MODEL, Load, Service, in_base64, picture
from tests.versions import CLASSES, image_model, write_version

pytestmark = pytest.mark.timeout(300)

JPEG = {"content-type": "image/jpeg"}
FEEDBACK: dict[str, str] = {}
"""What was told of which request; the last test looks for it in the lake."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Champion a, versions b and c, and one that ONNX Runtime refuses; without probation."""
    folder = tmp_path_factory.mktemp("serving")
    refused = image_model()
    refused.graph.node[0].op_type = "NoSuchOperator"
    models = {"a": image_model(0), "b": image_model(1), "c": image_model(2), "refused": refused}
    settings = {"probation_seconds": 0, "serve_log_rows": 200, "serve_log_seconds": 1, "serve_body_mb": 1}
    with Service(folder / "home", workers=2, serve_megapixels=3, **settings) as made:
        for name, model in models.items():
            made.registry.add(write_version(folder / name, onnx_model=model, version=name))
        made.registry.promote("a", None)
        made.wait()
        yield made


def test_a_probe_is_answered(service: Service) -> None:
    assert probes.serve(settings_of(service.home, serve_port=service.port)).startswith("a answers ")


def champion(registry: Registry) -> str:
    entry = registry.champion()
    assert entry
    assert entry.champion
    return entry.champion


def test_a_picture_has_one_answer_in_each_form(service: Service) -> None:
    picture_bytes = picture(120, "PNG")
    answers = [
        service.predict(picture_bytes, "image/png"),
        service.predict(picture_bytes, "IMAGE/PNG; charset=x"),
        service.ask("POST", "/predict", files={"image": ("a.png", picture_bytes, "image/png")}),
        service.ask("POST", "/predict", json={"image": in_base64(picture_bytes)}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    bodies = [answer.json() for answer in answers]
    for answer, body in zip(answers, bodies, strict=True):
        assert body.keys() == {"label", "probability", "probabilities", "model_version", "request_id"}
        assert body["model_version"] == "a"
        assert answer.headers["x-request-id"] == body["request_id"]
        assert body["probabilities"] == pytest.approx(bodies[0]["probabilities"])
    first = bodies[0]["probabilities"]
    assert list(first) == CLASSES
    assert sum(first.values()) == pytest.approx(1, abs=1e-5)
    assert first[bodies[0]["label"]] == bodies[0]["probability"] == max(first.values())
    assert len({body["request_id"] for body in bodies}) == 4


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_each_format_is_decoded(service: Service, kind: str) -> None:
    assert service.predict(picture(90, kind.upper()), f"image/{kind}").status_code == 200


def test_each_of_a_batch_has_its_answer_or_its_problem(service: Service) -> None:
    parts = [picture(10), b"garbage", picture(200)]
    form = service.ask("POST", "/predict_batch", files=[("image", (str(n), p)) for n, p in enumerate(parts)])
    listed = service.ask("POST", "/predict_batch", json={"images": [in_base64(part) for part in parts]})
    for response in (form, listed):
        assert response.status_code == 200
        first, problem, last = response.json()["answers"]
        assert (problem["code"], problem["status"]) == ("bad_image", 422)
        assert first["probabilities"] == pytest.approx(service.predict(picture(10)).json()["probabilities"])
        assert last["probabilities"] == pytest.approx(service.predict(picture(200)).json()["probabilities"])


def test_a_whole_batch_is_answered_in_order(service: Service) -> None:
    pictures = [picture(n) for n in range(0, 256, 4)]
    answers = service.ask("POST", "/predict_batch", files=[("image", data) for data in pictures])
    assert answers.status_code == 200
    alone = [service.predict(data).json()["probabilities"] for data in pictures[::16]]
    together = [answer["probabilities"] for answer in answers.json()["answers"][::16]]
    assert len(answers.json()["answers"]) == 64
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_it_says_what_is_live(service: Service) -> None:
    said = service.get("/model").json()
    entry = service.registry.champion()
    assert entry
    assert (said["model"], said["version"]) == (MODEL, "a")
    assert said["since"] == entry.when.isoformat()
    assert said["snapshot"] == {"table": "garments.articles", "snapshot_id": 7}
    assert (said["task"], said["classes"]) == ("classification", CLASSES)
    assert said["input"]["kind"] == "image"


def test_it_is_alive_and_ready(service: Service) -> None:
    for path in ("/livez", "/readyz"):
        response = service.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok", "reason": None})


def request(method: str, path: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return method, path, more


def raw(body: bytes, kind: str = "image/jpeg") -> tuple[str, str, dict[str, Any]]:
    return request("POST", "/predict", content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (raw(b""), 422, "bad_image"),
        (raw(b"garbage"), 422, "bad_image"),
        (raw(picture(kind="GIF")), 422, "bad_image"),
        (raw(picture(kind="PNG", size=(2000, 2000)), "image/png"), 422, "too_many_pixels"),
        (raw(b"x" * (1 << 20) + b"x"), 413, "body_too_large"),
        (raw(b"\x80\x04.", "application/x-python-pickle"), 415, "unsupported_media_type"),
        (raw(b"\x80\x04.", "application/vnd.bentoml+pickle"), 415, "unsupported_media_type"),
        (raw(b"{", "application/json"), 400, "bad_json"),
        (raw(b"[]", "application/json"), 422, "bad_request"),
        (raw(b'{"height": 1}', "application/json"), 422, "bad_request"),
        (raw(b"x", "multipart/form-data"), 400, "bad_multipart"),
        (request("POST", "/predict", files={"url": b"http://127.0.0.1:1/"}), 400, "bad_multipart"),
        (request("POST", "/predict", json={"image": "http://127.0.0.1:1/"}), 422, "bad_image"),
        (
            request("POST", "/predict", content=picture(), headers=JPEG | {"content-encoding": "gzip"}),
            415,
            None,
        ),
        (request("POST", "/predict_batch", json={"images": []}), 422, "bad_request"),
        (request("POST", "/predict_batch", json={"images": ["YQ=="] * 65}), 422, "too_many_images"),
        (request("POST", "/feedback", json={"request_id": "1", "label": "boot"}), 422, "bad_request"),
        (request("POST", "/feedback", json={"request_id": "0" * 32, "label": "hat"}), 422, "bad_request"),
        (request("POST", "/feedback", json={"request_id": "0" * 32, "label": ["boot"]}), 422, "bad_request"),
        (request("POST", "/feedback", json={"label": "boot"}), 422, "bad_request"),
        (request("GET", "/predict"), 405, "method_not_allowed"),
        (request("POST", "/model"), 405, "method_not_allowed"),
        (request("GET", "/nothing"), 404, "not_found"),
        (request("POST", "/metrics"), 404, "not_found"),
        (request("GET", "/static_content/../../../service.py"), 404, None),
    ],
)
def test_what_is_wrong_is_a_problem_with_a_code(
    service: Service, sent: tuple[str, str, dict[str, Any]], status: int, code: str | None
) -> None:
    method, path, more = sent
    response = service.ask(method, path, **more)
    assert response.status_code == status
    if code:
        assert response.headers["content-type"] == "application/problem+json"
        said = response.json()
        assert (said["code"], said["status"]) == (code, status)
        assert said["detail"]
    assert service.predict().status_code == 200


def test_its_description_is_complete_and_its_examples_work(service: Service) -> None:
    described = service.get("/docs.json").json()
    assert described["openapi"].startswith("3.")
    routes = {"/predict", "/predict_batch", "/feedback", "/model", "/livez", "/readyz", "/metrics"}
    assert described["paths"].keys() == routes
    for path, methods in described["paths"].items():
        ((method, operation),) = methods.items()
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        more = {"json": body["example"]} if body else {}
        response = service.ask(method.upper(), path, **more)
        assert str(response.status_code) in operation["responses"]
        assert response.status_code < 300, path


def test_its_page_is_bentomls_and_may_load_nothing_from_outside(service: Service) -> None:
    response = service.get("/")
    assert "swagger-ui" in response.text
    assert "googletagmanager" not in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'self';")
    assert service.get("/static_content/swagger-ui-bundle.js").status_code == 200


def test_labels_that_arrive_later_are_taken(service: Service) -> None:
    for label in CLASSES:
        answer = service.predict(picture(77)).json()
        response = service.ask("POST", "/feedback", json={"request_id": answer["request_id"], "label": label})
        assert response.status_code == 202
        FEEDBACK[answer["request_id"]] = label


@pytest.mark.slow
def test_metrics_of_both_workers_add_up(service: Service) -> None:
    def of_both() -> dict[str, float]:
        samples = service.metrics()

        def total(name: str, **labels: str) -> float:
            return sum(
                value
                for (found, having), value in samples.items()
                if found == name and labels.items() <= dict(having).items()
            )

        ours = "watchkeeper_serve_"
        return {
            "requests": total("bentoml_service_request_total", endpoint="/predict", http_response_code="200"),
            "refused": total("bentoml_service_request_total", endpoint="/predict", http_response_code="422"),
            "seconds": total("bentoml_service_request_duration_seconds_count", endpoint="/predict"),
            "decoded": total(ours + "decode_seconds_count", model=MODEL),
            "in batches": total(ours + "batch_size_sum", model=MODEL),
            "batches": total(ours + "inference_seconds_count", model=MODEL),
            "labels": total(ours + "predictions_total", model=MODEL),
            "confidences": total(ours + "confidence_ratio_count", model=MODEL),
            "bad images": total(ours + "rejected_total", reason="bad_image"),
            "in progress": total("bentoml_service_request_in_progress", endpoint="/predict"),
        }

    def send() -> int:
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(service.predict, [picture(), b"garbage"] * 20))
        assert [answer.status_code for answer in answers] == [200, 422] * 20
        return len(answers)

    # The kernel gives all to one worker as long as that is free; so it is killed for the other's turn.
    before, swapped = of_both(), service.total("watchkeeper_serve_swaps_total", outcome="swapped")
    counted = counted_by(service)
    sent = send()
    busiest = max(counted_by(service).items(), key=lambda item: item[1] - counted.get(item[0], 0))[0]
    wait_until(lambda: logged(service) >= len(service.answered), "its log, which it would lose")
    os.kill(int(busiest.removeprefix("counter_")), signal.SIGKILL)
    wait_until(lambda: int(busiest.removeprefix("counter_")) not in service.workers(), "its end")
    sent += send()

    def grown() -> dict[str, float]:
        after = of_both()
        return {name: after[name] - before[name] for name in after}

    expected = {
        "requests": sent / 2,
        "refused": sent / 2,
        "seconds": sent,
        "decoded": sent,
        "in batches": sent / 2,
        "labels": sent / 2,
        "confidences": sent / 2,
        "bad images": sent / 2,
        "in progress": 0,
    }
    wait_until(lambda: expected.items() <= grown().items(), f"{expected}", 10)
    assert 0 < grown()["batches"] <= sent / 2
    assert len(counted_by(service)) >= 2, "each worker counts for itself"
    assert sum(counted_by(service).values()) == service.total("watchkeeper_serve_predictions_total")
    wait_until(
        lambda: service.total("watchkeeper_serve_swaps_total", outcome="swapped") == swapped + 1,
        "a worker in the place of the killed one",
    )


def logged(service: Service) -> int:
    """Rows of the prediction log that are on disk, where every label that arrived is too."""
    landing = service.home / "landing" / "serving"
    told = {row for path in visible(landing / "feedback") for row in pq.read_table(path)[0].to_pylist()}
    if not FEEDBACK.keys() <= told:
        return 0
    return sum(pq.read_metadata(path).num_rows for path in visible(landing / "predictions"))


def counted_by(service: Service) -> dict[str, float]:
    """Answers of each process, from the files that BentoML's multi-process metrics are kept in."""
    found = {}
    for path in (service.home / "bento" / "prometheus_multiproc_dir").glob("counter_*.db"):
        values = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        mine = [value for key, value, *_ in values if "watchkeeper_serve_predictions_total" in key]
        if mine:
            found[path.stem] = sum(mine)
    return found


def test_the_champion_is_swapped_under_load_within_two_seconds(service: Service) -> None:
    registry = service.registry
    moves: list[tuple[float, str]] = [(0.0, champion(registry))]
    with Load(service) as load:
        wait_until(lambda: len(load.answers) > 20, "answers")
        moving: list[Callable[[], Entry]] = [
            lambda: registry.promote("b", "a"),
            lambda: registry.promote("c", "b"),
            lambda: registry.rollback(),
            lambda: registry.rollback(),
        ]
        for move in moving:
            entry = move()
            assert entry.champion
            moves.append((time.time(), entry.champion))
            behind = moves[-1][0] + 2
            wait_until(lambda since=behind: len(load.answers_since(since)) > 20, "answers after the swap")  # type: ignore[misc]
    assert [version for _, version in moves] == ["a", "b", "c", "b", "a"]
    assert load.errors == []
    assert {status for _, _, status, _ in load.answers} == {200}
    ends = [when for when, _ in moves[1:]] + [float("inf")]
    for started, ended, _, body in load.answers:
        allowed = {
            version
            for (begin, version), end in zip(moves, ends, strict=True)
            if begin <= ended + 0.05 and end >= started - 2  # the ledger's time, and when we saw it
        }
        assert body["model_version"] in allowed
    assert service.get("/model").json()["version"] == "a"


def test_series_that_alerts_watch_are_there_before_their_first_event(service: Service) -> None:
    found = {(name, dict(labels).get("outcome")) for name, labels in service.metrics()}
    assert {("watchkeeper_serve_swaps_total", outcome) for outcome in ("failed", "rolled_back")} <= found
    assert ("watchkeeper_serve_log_rows_total", "dropped") in found


@pytest.mark.parametrize("why", ["refused", "damaged"])
def test_a_champion_that_cannot_be_served_leaves_the_old_one(service: Service, why: str) -> None:
    failed = service.total("watchkeeper_serve_swaps_total", outcome="failed")
    mended = None
    if why == "refused":  # true to its manifest, and no model
        bad = service.registry.promote("refused", "a")
    else:  # by a disk, after it was promoted: the ledger alone is written here
        store = LocalStore(service.home / "registry")
        path = store.root / MODEL / "versions" / "c" / "model.onnx"
        mended = path.read_bytes()
        path.write_bytes(mended[:-1] + b"\0")
        bad = Ledger(store, MODEL).write(lambda before: ("promoted", "c", "c"), {})
    assert bad.champion
    with Load(service) as load:
        wait_until(
            lambda: service.total("watchkeeper_serve_swaps_total", outcome="failed") == failed + 2,
            "both workers to have tried",
        )
        seen = time.time()
        wait_until(lambda: len(load.answers_since(seen + 1)) > 20, "answers with the old one")
        # The next try comes after five seconds.
        tried = service.total("watchkeeper_serve_swaps_total", outcome="failed") - failed
        assert tried <= 2 or time.time() > seen + 4
    assert load.errors == []
    assert {(status, body["model_version"]) for _, _, status, body in load.answers} == {(200, "a")}
    assert service.get("/readyz").status_code == 200
    assert f"champion {bad.champion} cannot be served" in service.log.read_text()
    if mended:
        path.write_bytes(mended)
    service.registry.rollback("a")
    wait_until(lambda: service.get("/model").json()["version"] == "a", "the way back")


def test_the_version_that_answers_is_in_the_metrics(service: Service) -> None:
    def live() -> set[str]:
        return {
            dict(labels)["version"]
            for (name, labels), value in service.metrics().items()
            if name == "watchkeeper_serve_model_info" and value == 1
        }

    wait_until(lambda: live() == {champion(service.registry)}, "one live version")


def test_what_was_answered_is_in_the_lake_after_a_clean_stop(service: Service) -> None:
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda n: service.predict(picture(n)), range(100)))
    response = service.predict(picture(33))
    assert response.status_code == 200, response.text
    answer = response.json()
    said = {"request_id": answer["request_id"], "label": "boot"}
    assert service.ask("POST", "/feedback", json=said).status_code == 202
    FEEDBACK[answer["request_id"]] = "boot"
    assert service.total("watchkeeper_serve_log_rows_total", outcome="dropped") == 0
    assert service.stop() == 0
    landing = service.home / "landing" / "serving"
    rows = [row for path in visible(landing / "predictions") for row in pq.read_table(path).to_pylist()]
    given = {body["request_id"]: body for body in service.answered}
    assert len(rows) == len(given), "each answer once, and nothing that nobody was given"
    assert {row["request_id"] for row in rows} == given.keys()
    for row in rows:
        body = given[row["request_id"]]
        assert (row["model"], row["model_version"]) == (MODEL, body["model_version"])
        assert (row["label"], row["shadow"], row["truth"]) == (body["label"], False, None)
        assert row["probability"] == pytest.approx(body["probability"])
        assert row["brightness"] is not None
        assert row["embedding_03"] is not None
    settings = settings_of(service.home)
    for table in ("predictions", "feedback"):
        result = run_table(settings, shipped(f"serving.{table}"), landing)
        assert (result.outcome, result.rows_quarantined) == ("committed", 0)
    assert ask(settings, "SELECT count(*), count(DISTINCT request_id) FROM serving.predictions") == [
        (len(given), len(given))
    ]
    joined = ask(
        settings,
        "SELECT p.request_id, f.label, p.label FROM serving.predictions p "
        "JOIN serving.feedback f USING (request_id)",
    )
    assert {(one, told) for one, told, _ in joined} == set(FEEDBACK.items())
    assert all(label == given[one]["label"] for one, _, label in joined)
    with pytest.raises(httpx.ConnectError):
        service.get("/livez")
    assert "Traceback" not in service.log.read_text()


def visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))
