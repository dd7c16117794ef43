"""The Secret with which a Dataset is read over S3. Pure: its keys are minted elsewhere, once."""

import base64

from forebay_cache.contract.config import AccessKey
from forebay_operator import names
from forebay_operator.facts import DatasetFacts, Facts, bucket, endpoint
from forebay_operator.model import Manifest


def keys_secret(facts: Facts, dataset: DatasetFacts, keys: AccessKey) -> Manifest:
    """In the names that S3 clients take from their environment; bucket and endpoint follow the specs."""
    assert facts.model is not None
    key = names.keys(facts.key.namespace, dataset.model.metadata.name)
    service = names.s3(facts.key.namespace, facts.key.name)
    text = {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key.get_secret_value(),
        "AWS_ENDPOINT_URL": endpoint(facts)
        or f"http://{service.name}.{service.namespace}.svc:{facts.model.spec.s3.port}",
        "BUCKET": bucket(dataset.model),
    }
    data = {name: base64.b64encode(value.encode()).decode() for name, value in text.items()}
    return Manifest(key, names.owned(key, dataset.object, facts.key.name, type="Opaque", data=data))
