"""The CSI node service: checks what a kubelet asks, and has it done."""

from collections.abc import Sequence

from forebay_cache.csi import checks
from forebay_cache.csi.calls import Method
from forebay_cache.csi.volumes import Volumes
from forebay_cache.csi.wire import csi_pb2 as csi
from forebay_cache.model.errors import VolumeNotStaged

SERVICE = "csi.v1.Node"
_CAN = csi.NodeServiceCapability.RPC


class Node:
    """`name`: of the Kubernetes node; `kubelet_dir`: what every path must be below."""

    def __init__(self, name: str, kubelet_dir: str, volumes: Volumes) -> None:
        self._name = name
        self._kubelet_dir = kubelet_dir
        self._volumes = volumes

    def methods(self) -> Sequence[Method]:
        return (
            Method("NodeStageVolume", csi.NodeStageVolumeRequest, self.stage),
            Method("NodeUnstageVolume", csi.NodeUnstageVolumeRequest, self.unstage),
            Method("NodePublishVolume", csi.NodePublishVolumeRequest, self.publish),
            Method("NodeUnpublishVolume", csi.NodeUnpublishVolumeRequest, self.unpublish),
            Method("NodeGetVolumeStats", csi.NodeGetVolumeStatsRequest, self.stats),
            Method("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest, self.capabilities),
            Method("NodeGetInfo", csi.NodeGetInfoRequest, self.info),
        )

    async def stage(self, asked: csi.NodeStageVolumeRequest) -> csi.NodeStageVolumeResponse:
        volume_id, path = (
            checks.volume_id(asked.volume_id),
            self._path("staging_target_path", asked.staging_target_path),
        )
        checks.capability(asked.volume_capability, given=asked.HasField("volume_capability"))
        await self._volumes.stage(volume_id, checks.attributes(asked.volume_context), path)
        return csi.NodeStageVolumeResponse()

    async def unstage(self, asked: csi.NodeUnstageVolumeRequest) -> csi.NodeUnstageVolumeResponse:
        volume_id, path = (
            checks.volume_id(asked.volume_id),
            self._path("staging_target_path", asked.staging_target_path),
        )
        await self._volumes.unstage(volume_id, path)
        return csi.NodeUnstageVolumeResponse()

    async def publish(self, asked: csi.NodePublishVolumeRequest) -> csi.NodePublishVolumeResponse:
        """`readonly` does not matter: what a pod sees is read-only always."""
        volume_id, target = checks.volume_id(asked.volume_id), self._path("target_path", asked.target_path)
        checks.capability(asked.volume_capability, given=asked.HasField("volume_capability"))
        if not asked.staging_target_path:  # the specification wants this code, not INVALID_ARGUMENT
            raise VolumeNotStaged("staging_target_path is missing: a volume has to be staged before it is published")
        staging = self._path("staging_target_path", asked.staging_target_path)
        await self._volumes.publish(volume_id, checks.attributes(asked.volume_context), staging, target)
        return csi.NodePublishVolumeResponse()

    async def unpublish(self, asked: csi.NodeUnpublishVolumeRequest) -> csi.NodeUnpublishVolumeResponse:
        volume_id, target = checks.volume_id(asked.volume_id), self._path("target_path", asked.target_path)
        await self._volumes.unpublish(volume_id, target)
        return csi.NodeUnpublishVolumeResponse()

    async def stats(self, asked: csi.NodeGetVolumeStatsRequest) -> csi.NodeGetVolumeStatsResponse:
        """The commit's own counts: nothing is walked, and no file system is asked that may hang. A path where no volume can
        be is one where this volume is not: the specification's NOT_FOUND."""
        volume_id, path = checks.volume_id(asked.volume_id), checks.present("volume_path", asked.volume_path)
        found = self._volumes.shown(volume_id, path.rstrip("/"))
        return csi.NodeGetVolumeStatsResponse(
            usage=[
                csi.VolumeUsage(total=found.bytes, used=found.bytes, unit=csi.VolumeUsage.BYTES),
                csi.VolumeUsage(total=found.files, used=found.files, unit=csi.VolumeUsage.INODES),
            ]
        )

    async def capabilities(self, asked: csi.NodeGetCapabilitiesRequest) -> csi.NodeGetCapabilitiesResponse:
        can = (_CAN.STAGE_UNSTAGE_VOLUME, _CAN.GET_VOLUME_STATS)
        return csi.NodeGetCapabilitiesResponse(
            capabilities=[csi.NodeServiceCapability(rpc=_CAN(type=one)) for one in can]
        )

    async def info(self, asked: csi.NodeGetInfoRequest) -> csi.NodeGetInfoResponse:
        return csi.NodeGetInfoResponse(node_id=self._name)

    def _path(self, field: str, value: str) -> str:
        return checks.path(field, value, self._kubelet_dir)
