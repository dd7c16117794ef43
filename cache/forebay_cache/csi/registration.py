"""Tells the kubelet that this driver is there, as its plugin watcher asks; so no sidecar is needed for it."""

import logging
from collections.abc import Sequence

from forebay_cache.contract.volume import DRIVER
from forebay_cache.csi.calls import Method
from forebay_cache.csi.wire import registration_pb2 as wire

SERVICE = "pluginregistration.Registration"
CSI_VERSION = "1.0.0"
log = logging.getLogger("forebay.csi")


class Registration:
    """`endpoint`: the driver's socket as the kubelet sees it. The kubelet asks again after a failure by itself."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.why_not = "no kubelet has asked for it yet; is kubeletDir the kubelet's --root-dir?"
        """"" once the kubelet has taken the driver."""

    def methods(self) -> Sequence[Method]:
        return (
            Method("GetInfo", wire.InfoRequest, self.info),
            Method("NotifyRegistrationStatus", wire.RegistrationStatus, self.told),
        )

    async def info(self, request: wire.InfoRequest) -> wire.PluginInfo:
        return wire.PluginInfo(type="CSIPlugin", name=DRIVER, endpoint=self._endpoint, supported_versions=[CSI_VERSION])

    async def told(self, status: wire.RegistrationStatus) -> wire.RegistrationStatusResponse:
        if status.plugin_registered:
            self.why_not = ""
            log.info("registered with the kubelet")
        else:
            self.why_not = f"the kubelet refused it: {status.error}"
            log.error("not registered with the kubelet", extra={"detail": status.error})
        return wire.RegistrationStatusResponse()
