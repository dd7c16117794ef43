from tests.operator.cli.conftest import Desk
from tests.rigs import objects


async def test_assignments_hold_endpoint_bucket_and_keys(desk: Desk) -> None:
    await desk.furnish()
    assert (await desk.run("keys", "photos")).out.splitlines() == [
        "export AWS_ENDPOINT_URL=http://127.0.0.1:7450",
        "export BUCKET=photos",
        "export AWS_REGION=us-east-1",
        "export AWS_ACCESS_KEY_ID=AKIAREADER",
        "export AWS_SECRET_ACCESS_KEY=a-secret/of+the=reader",
    ]


async def test_an_anonymous_dataset_has_no_keys(desk: Desk) -> None:
    await desk.furnish()
    body = objects.dataset("default", s3={"access": "Anonymous"})
    await desk.kube.apply(body, manager="t")
    assert "KEY" not in (await desk.run("keys", "photos")).out
