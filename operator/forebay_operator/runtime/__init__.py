"""Runs pods as local processes, for `forebay up`.

`sets` and `owners` decide (pure), `volumes`, `process` and `pod` act, `controller` is the loop, `up` the whole house.

What it plays, over the Kube protocol: the StatefulSet controller (ordinals, OnDelete updates, claims), owner-reference
collection, and a kubelet of one node. What it lacks: init containers, images, resource limits, private mounts (a pod gets
a root directory, named by FOREBAY_ROOT), DNS, the scheduler, and every kind that `model.KINDS` does not name.
"""
