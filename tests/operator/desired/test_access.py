import base64

from pydantic import SecretStr
from tests.rigs import objects

from forebay_cache.contract.config import AccessKey
from forebay_operator import names
from forebay_operator.api import v1alpha1 as api
from forebay_operator.desired.access import keys_secret
from forebay_operator.facts import DatasetFacts, Facts, read_keys
from forebay_operator.model import CACHE_CLUSTER, Key

KEYS = AccessKey(access_key_id="FBX", secret_access_key=SecretStr("a-secret"))


def test_a_secret_has_what_s3_clients_read_and_goes_with_its_dataset() -> None:
    body = objects.dataset("ns", s3={"bucket": "pictures"})
    body["metadata"]["uid"] = "d-1"
    dataset = DatasetFacts(body, api.Dataset.model_validate(body), None, False, {}, None, None)
    facts = Facts(Key(CACHE_CLUSTER, "ns", "main"), {}, api.CacheCluster.model_validate(objects.cluster("ns")))
    made = keys_secret(facts, dataset, KEYS)
    data = {name: base64.b64decode(value).decode() for name, value in made.body["data"].items()}
    assert data == {
        "AWS_ACCESS_KEY_ID": "FBX",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_ENDPOINT_URL": "http://main-s3.ns.svc:7450",
        "BUCKET": "pictures",
    }
    assert made.key.name == "photos-s3"
    assert names.is_controlled(made.body, "d-1")
    assert read_keys(made.body) == KEYS
