"""The S3 API as unmodified clients use it: boto3, awscli and pyarrow against a real server."""

import datetime as dt
import email.utils
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pyarrow.fs
import pytest
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from forebay_cache.contract.config import AccessKey
from forebay_cache.model.sigv4 import Signer
from forebay_cache.serve import listing

KEY, SECRET = "AKIAREADER", "a-secret/of+the=reader"
QUICK = {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}, "signature_version": "s3v4"}


@pytest.fixture
def served(member, objects):
    member.serve("open", objects)
    member.serve("closed", objects, anonymous=False)
    member.serve("other", objects, anonymous=False)
    member.serve("unsynced", None)
    return member


def client(running, *, key: str | None = KEY, secret: str = SECRET, region: str = "us-east-1"):
    signature = {"signature_version": UNSIGNED} if key is None else {}
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret if key else None, region_name=region)
    return session.client("s3", endpoint_url=running.url, config=Config(**{**QUICK, **signature}))


def failure(call, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


# objects


@pytest.mark.parametrize("bucket", ["open", "closed"])
def test_boto3_reads_every_object_with_its_metadata(served, running, objects, bucket: str) -> None:
    entry = served.snapshot.by_bucket[bucket].head.find(b"a.txt")
    given = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Encoding": "identity",
        "x-amz-meta-colour": "blue",
        "bad": "a\r\nX: y",
    }
    served.reader.given[entry.extent.segment] = given
    s3 = client(running)
    for key, data in objects.items():
        for _ in range(2):
            found = s3.get_object(Bucket=bucket, Key=key.decode())
            assert found["Body"].read() == data
            assert found["ETag"] == f'"{served.snapshot.by_bucket[bucket].head.find(key).etag}"'
    for found in (s3.get_object(Bucket=bucket, Key="a.txt"), s3.head_object(Bucket=bucket, Key="a.txt")):
        assert found["ContentType"] == "text/plain; charset=utf-8"
        assert found["ContentEncoding"] == "identity"
        assert found["Metadata"] == {"colour": "blue"}
        assert found["LastModified"] == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
        assert found["ContentLength"] == 5
        assert found["AcceptRanges"] == "bytes"
        assert "x" not in found["ResponseMetadata"]["HTTPHeaders"]
        assert found["ResponseMetadata"]["RequestId"]


def test_boto3_downloads_in_parallel_ranges(served, running, objects, tmp_path: Path) -> None:
    config = TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=1 << 20, max_concurrency=4)
    client(running).download_file("closed", "big.bin", str(tmp_path / "got"), Config=config)
    assert (tmp_path / "got").read_bytes() == objects[b"big.bin"]


@pytest.mark.parametrize(
    ("asked", "status", "wanted"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=2-", 206, slice(2, None)),
        ("bytes=-2", 206, slice(-2, None)),
        ("bytes=-200", 206, slice(None)),
        ("bytes=1-200", 206, slice(1, None)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("pages=1", 200, slice(None)),
    ],
)
def test_ranges(served, running, asked: str, status: int, wanted: slice) -> None:
    for _ in range(2):
        found = client(running).get_object(Bucket="closed", Key="a.txt", Range=asked)
        assert found["ResponseMetadata"]["HTTPStatusCode"] == status
        assert found["Body"].read() == b"hello"[wanted]


def test_a_range_out_of_bounds(served, running) -> None:
    s3 = client(running)
    for key in ("a.txt", "a.txt", "empty"):
        assert failure(s3.get_object, Bucket="closed", Key=key, Range="bytes=5-9") == (416, "InvalidRange")
    assert running.get("/open/a.txt", "Range: bytes=9-").headers["content-range"] == "bytes */5"


def test_conditional_reads(served, running) -> None:
    s3, tag = client(running), served.snapshot.by_bucket["open"].head.find(b"a.txt").etag
    for _ in range(2):
        assert s3.get_object(Bucket="open", Key="a.txt", IfMatch=tag)["Body"].read() == b"hello"
        assert failure(s3.get_object, Bucket="open", Key="a.txt", IfMatch="other") == (412, "PreconditionFailed")
        assert failure(s3.get_object, Bucket="open", Key="a.txt", IfNoneMatch=tag) == (304, "304")
        assert failure(s3.head_object, Bucket="open", Key="a.txt", IfNoneMatch=tag) == (304, "304")
        later = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        assert failure(s3.get_object, Bucket="open", Key="a.txt", IfModifiedSince=later) == (304, "304")
        assert s3.get_object(Bucket="open", Key="a.txt", IfUnmodifiedSince=later)["Body"].read() == b"hello"
    answer = running.get("/open/a.txt", f'If-None-Match: "{tag}"')
    assert (answer.headers["etag"], answer.body) == (f'"{tag}"', b"")


def test_a_range_goes_with_if_range(served, running) -> None:
    tag = served.snapshot.by_bucket["open"].head.find(b"a.txt").etag
    assert running.get("/open/a.txt", "Range: bytes=0-1", f'If-Range: "{tag}"').status == 206
    assert running.get("/open/a.txt", "Range: bytes=0-1", 'If-Range: "other"').body == b"hello"


def test_versions_and_parts_are_answered_or_refused(served, running) -> None:
    s3 = client(running)
    assert s3.get_object(Bucket="open", Key="a.txt", VersionId="null")["Body"].read() == b"hello"
    assert failure(s3.get_object, Bucket="open", Key="a.txt", VersionId="3HL4") == (404, "NoSuchVersion")
    found = s3.get_object(Bucket="open", Key="a.txt", PartNumber=1)
    assert (found["ContentRange"], found["Body"].read()) == ("bytes 0-4/5", b"hello")
    assert failure(s3.get_object, Bucket="open", Key="a.txt", PartNumber=2) == (416, "InvalidPartNumber")
    assert failure(s3.get_object, Bucket="open", Key="a.txt", PartNumber=1, Range="bytes=0-1") == (
        400,
        "InvalidRequest",
    )
    assert failure(s3.get_object_acl, Bucket="open", Key="a.txt") == (501, "NotImplemented")
    assert failure(s3.get_object_tagging, Bucket="open", Key="a.txt") == (501, "NotImplemented")


def test_response_headers_can_be_chosen(served, running) -> None:
    s3 = client(running)
    found = s3.get_object(
        Bucket="open", Key="a.txt", ResponseContentType="x/y", ResponseContentDisposition='attachment; filename="a b"'
    )
    assert (found["ContentType"], found["ContentDisposition"], found["Body"].read()) == (
        "x/y",
        'attachment; filename="a b"',
        b"hello",
    )


def test_names_that_are_not_there(served, running) -> None:
    s3 = client(running)
    assert failure(s3.get_object, Bucket="nowhere", Key="k") == (404, "NoSuchBucket")
    assert failure(s3.list_objects_v2, Bucket="nowhere") == (404, "NoSuchBucket")
    assert failure(s3.head_bucket, Bucket="nowhere") == (404, "404")
    for key in ("nope", "../a.txt", "dir/./one.bin", "a/b", "dir//one.bin", "A.txt", "a.txt/", "dir"):
        assert failure(s3.get_object, Bucket="closed", Key=key) == (404, "NoSuchKey")
        assert failure(s3.head_object, Bucket="closed", Key=key) == (404, "404")
    assert running.get("/open/" + "k" * 1025).code == "KeyTooLongError"
    assert running.get("/open/%00").code == "NoSuchKey"


def test_a_dataset_before_its_first_sync(served, running) -> None:
    for path in ("/unsynced", "/unsynced/k"):
        found = running.get(path)
        assert (found.status, found.code, found.headers["retry-after"]) == (503, "DatasetNotReady", "5")
    assert running.get("/unsynced", method="HEAD").status == 200


def test_writes_say_why_not(served, running, tmp_path: Path) -> None:
    s3 = client(running)
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert failure(s3.put_object, Bucket="closed", Key="k", Body=b"x") == (405, "MethodNotAllowed")
    with (tmp_path / "f").open("rb") as body:
        assert failure(s3.put_object, Bucket="closed", Key="k", Body=body) == (405, "MethodNotAllowed")
    assert failure(s3.delete_object, Bucket="closed", Key="a.txt") == (405, "MethodNotAllowed")
    assert failure(s3.create_bucket, Bucket="new") == (405, "MethodNotAllowed")
    with pytest.raises(ClientError, match="read-only"):
        s3.delete_objects(Bucket="closed", Delete={"Objects": [{"Key": "a.txt"}]})


# who may read


def test_anonymous_reads_where_allowed(served, running) -> None:
    s3 = client(running, key=None)
    assert s3.get_object(Bucket="open", Key="a.txt")["Body"].read() == b"hello"
    assert s3.list_objects_v2(Bucket="open")["KeyCount"] == 8
    for call, arguments in ((s3.get_object, {"Key": "a.txt"}), (s3.list_objects_v2, {})):
        assert failure(call, Bucket="closed", **arguments) == (403, "AccessDenied")
    assert failure(s3.head_object, Bucket="closed", Key="a.txt") == (403, "403")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["open", "unsynced"]


@pytest.mark.parametrize("bucket", ["open", "closed"])
def test_a_signature_is_always_verified(served, running, bucket: str) -> None:
    client(running).get_object(Bucket=bucket, Key="a.txt")  # hot from here on
    for _ in range(2):
        assert failure(client(running, secret="wrong").get_object, Bucket=bucket, Key="a.txt") == (
            403,
            "SignatureDoesNotMatch",
        )
        assert failure(client(running, key="AKNOBODY").get_object, Bucket=bucket, Key="a.txt") == (
            403,
            "InvalidAccessKeyId",
        )
        answer = running.get(f"/{bucket}/a.txt", "Authorization: AWS AKIAREADER:c2lnbmF0dXJl")
        assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


def test_another_region_is_told_ours(served, running) -> None:
    headers = Signer(KEY, SECRET, "eu-west-1").sign(
        "GET", f"127.0.0.1:{running.port}", "/closed/a.txt", "", dt.datetime.now().timestamp()
    )
    found = running.get("/closed/a.txt", *(f"{name}: {value}" for name, value in headers.items()))
    assert (found.status, found.code) == (400, "AuthorizationHeaderMalformed")
    assert b"expecting 'us-east-1'" in found.body


def test_a_key_reads_only_its_datasets(served, running, objects) -> None:
    other = served.snapshot.by_bucket["other"]
    keys = (AccessKey(access_key_id="AKOTHER", secret_access_key="s"),)
    changed = type(other)(other.state.model_copy(update={"access_keys": keys}), other.head)
    served.snapshot = type(served.snapshot)({**served.snapshot.by_bucket, "other": changed})
    assert failure(client(running).get_object, Bucket="other", Key="a.txt") == (403, "AccessDenied")
    theirs = client(running, key="AKOTHER", secret="s")
    assert theirs.get_object(Bucket="other", Key="a.txt")["Body"].read() == b"hello"
    assert [bucket["Name"] for bucket in theirs.list_buckets()["Buckets"]] == ["open", "other", "unsynced"]


@pytest.mark.parametrize("offset_s", [-1000, 1000])
def test_a_skewed_clock_is_refused(served, make_running, offset_s: int) -> None:
    running = make_running(now_offset=offset_s)
    headers = Signer(KEY, SECRET).sign(
        "GET", f"127.0.0.1:{running.port}", "/closed/a.txt", "", dt.datetime.now().timestamp()
    )
    found = running.get("/closed/a.txt", *(f"{name}: {value}" for name, value in headers.items()))
    assert (found.status, found.code) == (403, "RequestTimeTooSkewed")


def test_a_presigned_url_works_until_it_expires(served, make_running) -> None:
    now, later = make_running(), make_running(now_offset=120)
    for path in ("a.txt", "sp ace+pl%us/ü.bin"):
        url = client(now).generate_presigned_url("get_object", Params={"Bucket": "closed", "Key": path}, ExpiresIn=60)
        for _ in range(2):
            assert urllib.request.urlopen(url).read() in (b"hello", b"odd")
    url = client(later).generate_presigned_url("get_object", Params={"Bucket": "closed", "Key": "a.txt"}, ExpiresIn=60)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    with caught.value as answer:
        body = answer.read()
    assert (answer.status, b"<Code>AccessDenied</Code>" in body, b"expired" in body) == (403, True, True)
    forged = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(forged)


def test_the_old_kind_of_presigned_url_is_told_what_to_do(served, running) -> None:
    old = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1").client(
        "s3", endpoint_url=running.url
    )
    url = old.generate_presigned_url("get_object", Params={"Bucket": "closed", "Key": "a.txt"}, ExpiresIn=60)
    found = running.get(url.removeprefix(running.url))
    assert found.code == "AuthorizationHeaderMalformed"
    assert b"s3v4" in found.body


def test_a_rotated_key_counts_at_once(served, running) -> None:
    s3 = client(running)
    s3.get_object(Bucket="closed", Key="a.txt")
    closed = served.snapshot.by_bucket["closed"]
    keys = (AccessKey(access_key_id=KEY, secret_access_key="rotated"),)
    changed = type(closed)(closed.state.model_copy(update={"access_keys": keys}), closed.head)
    served.snapshot = type(served.snapshot)({"closed": changed})
    assert failure(s3.get_object, Bucket="closed", Key="a.txt") == (403, "SignatureDoesNotMatch")
    assert client(running, secret="rotated").get_object(Bucket="closed", Key="a.txt")["Body"].read() == b"hello"


def test_a_new_head_counts_at_once(served, running) -> None:
    s3 = client(running)
    assert s3.get_object(Bucket="open", Key="a.txt")["Body"].read() == b"hello"
    served.serve("open", {b"a.txt": b"newer"})
    assert s3.get_object(Bucket="open", Key="a.txt")["Body"].read() == b"newer"
    assert failure(s3.get_object, Bucket="open", Key="empty") == (404, "NoSuchKey")


# listings


def test_a_listing_is_sorted_and_exact(served, running, objects) -> None:
    for call in (client(running).list_objects_v2, client(running).list_objects):
        found = call(Bucket="closed")
        assert [entry["Key"].encode() for entry in found["Contents"]] == sorted(objects)
        assert [entry["Size"] for entry in found["Contents"]] == [len(objects[key]) for key in sorted(objects)]
        assert not found["IsTruncated"]


def test_a_delimiter_rolls_up(served, running) -> None:
    found = client(running).list_objects_v2(Bucket="open", Delimiter="/")
    assert [prefix["Prefix"] for prefix in found["CommonPrefixes"]] == ["a/", "dir/", "sp ace+pl%us/"]
    assert [entry["Key"] for entry in found["Contents"]] == ["a.txt", "big.bin", "empty"]
    assert found["KeyCount"] == 6
    below = client(running).list_objects_v2(Bucket="open", Delimiter="/", Prefix="dir/", StartAfter="dir/one.bin")
    assert [entry["Key"] for entry in below["Contents"]] == ["dir/two.bin"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_pages_make_the_whole(served, running, objects, operation: str, size: int) -> None:
    pages = client(running).get_paginator(operation).paginate(Bucket="closed", PaginationConfig={"PageSize": size})
    assert [entry["Key"].encode() for page in pages for entry in page["Contents"]] == sorted(objects)


def test_a_listing_stays_on_its_commit(served, running, objects) -> None:
    s3 = client(running)
    first = s3.list_objects_v2(Bucket="open", MaxKeys=3)
    served.serve("open", {b"a.txt": b"x", b"zzz": b"y"})
    rest = s3.list_objects_v2(Bucket="open", ContinuationToken=first["NextContinuationToken"])
    assert [entry["Key"].encode() for entry in first["Contents"] + rest["Contents"]] == sorted(objects)
    assert rest["ContinuationToken"] == first["NextContinuationToken"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="open")["Contents"]] == ["a.txt", "zzz"]


def test_a_token_of_another_bucket_or_of_nobody_is_refused(served, running) -> None:
    foreign = listing.token_for("9" * 64, b"k")
    for token in (foreign, "x", "AAAA", "ü", ""):
        assert failure(client(running).list_objects_v2, Bucket="open", ContinuationToken=token) == (
            400,
            "InvalidArgument",
        )


@pytest.mark.parametrize("query", ["max-keys=-1", "max-keys=x", "list-type=3", "encoding-type=xml"])
def test_wrong_parameters_are_refused(served, running, query: str) -> None:
    assert running.get(f"/open?{query}").code == "InvalidArgument"


def test_small_and_large_pages(served, running) -> None:
    s3 = client(running)
    assert s3.list_objects_v2(Bucket="open", MaxKeys=0)["KeyCount"] == 0
    assert s3.list_objects_v2(Bucket="open", MaxKeys=5000)["MaxKeys"] == 1000


def test_bucket_questions(served, running) -> None:
    s3 = client(running)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["closed", "open", "other", "unsynced"]
    assert s3.head_bucket(Bucket="closed")["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="closed")["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket="closed")
    assert failure(s3.get_bucket_acl, Bucket="closed") == (501, "NotImplemented")
    assert failure(s3.list_object_versions, Bucket="closed") == (501, "NotImplemented")


def test_an_error_document_names_the_request(served, running) -> None:
    found = running.get("/open/nope")
    assert f"<RequestId>{found.headers['x-amz-request-id']}</RequestId>".encode() in found.body
    assert b"<Resource>/open/nope</Resource>" in found.body
    assert email.utils.parsedate(found.headers["date"])


# other clients


def test_awscli(served, running, objects, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    environment.pop("AWS_CA_BUNDLE", None)

    def aws(*arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", running.url, *arguments]
        return subprocess.run(
            command, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True
        ).stdout

    assert len(aws("s3", "ls", "s3://closed/", "--recursive").splitlines()) == len(objects)
    assert json.loads(aws("s3api", "head-object", "--bucket", "closed", "--key", "a.txt"))["ContentLength"] == 5
    aws("s3", "cp", "--recursive", "--quiet", "s3://closed/dir/", str(tmp_path / "got"), "--exclude", "*up")
    assert (tmp_path / "got" / "one.bin").read_bytes() == objects[b"dir/one.bin"]
    assert (tmp_path / "got" / "two.bin").read_bytes() == objects[b"dir/two.bin"]


def test_pyarrow(served, running, objects) -> None:
    files = pyarrow.fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        endpoint_override=f"127.0.0.1:{running.port}",
        scheme="http",
        region="us-east-1",
    )
    found = files.get_file_info(pyarrow.fs.FileSelector("closed/dir", recursive=False))
    assert {(info.base_name, info.size) for info in found if info.is_file} >= {
        ("one.bin", 1 << 20),
        ("two.bin", 1 << 20),
    }
    with files.open_input_file("closed/big.bin") as file:
        assert file.read_at(100, (8 << 20) - 50) == objects[b"big.bin"][(8 << 20) - 50 :][:100]
        assert file.readall() == objects[b"big.bin"]
    with (
        pytest.raises(OSError, match="read-only"),
        files.open_output_stream("closed/new") as out,
    ):
        out.write(b"x" * 10)
    with pytest.raises(FileNotFoundError):
        files.open_input_file("closed/none")
