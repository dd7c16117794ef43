"""forebay keys DATASET"""

import argparse
import shlex

from forebay_operator.cli.base import Parts, connect, dataset_argument
from forebay_operator.cli.find import find_access, find_dataset
from forebay_operator.cli.output import write_json

EXAMPLES = """\
eval "$(forebay keys photos)"              then: aws s3 ls "s3://$BUCKET/"
forebay keys photos -o json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print endpoint, bucket and keys as shell assignments that S3 clients understand."
    dataset_argument(parser)


async def run(args: argparse.Namespace, parts: Parts) -> None:
    async with connect(args, parts) as kube:
        access = await find_access(kube, await find_dataset(kube, args))
    values = {"AWS_ENDPOINT_URL": access.endpoint, "BUCKET": access.bucket, "AWS_REGION": "us-east-1"}
    if access.keys:
        values |= dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), access.keys, strict=True))
    if args.output == "json":
        write_json(parts.stdout, values)
        return
    for name, value in values.items():
        parts.stdout.write(f"export {name}={shlex.quote(value)}\n")
