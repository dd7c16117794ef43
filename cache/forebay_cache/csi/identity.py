"""The CSI identity service: who this driver is, and whether it can work."""

from collections.abc import Sequence
from importlib.metadata import version

from google.protobuf.wrappers_pb2 import BoolValue

from forebay_cache.contract.volume import DRIVER
from forebay_cache.csi.base import Agent
from forebay_cache.csi.calls import Method
from forebay_cache.csi.wire import csi_pb2 as csi

SERVICE = "csi.v1.Identity"


class Identity:
    """No controller: the operator makes PersistentVolume and claim itself, and nothing is attached."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def methods(self) -> Sequence[Method]:
        return (
            Method("GetPluginInfo", csi.GetPluginInfoRequest, self.info),
            Method("GetPluginCapabilities", csi.GetPluginCapabilitiesRequest, self.capabilities),
            Method("Probe", csi.ProbeRequest, self.probe),
        )

    async def info(self, request: csi.GetPluginInfoRequest) -> csi.GetPluginInfoResponse:
        return csi.GetPluginInfoResponse(name=DRIVER, vendor_version=version("forebay"))

    async def capabilities(self, request: csi.GetPluginCapabilitiesRequest) -> csi.GetPluginCapabilitiesResponse:
        return csi.GetPluginCapabilitiesResponse()

    async def probe(self, request: csi.ProbeRequest) -> csi.ProbeResponse:
        return csi.ProbeResponse(ready=BoolValue(value=not await self._agent.why_not_ready()))
