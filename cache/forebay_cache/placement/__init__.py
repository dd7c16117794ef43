"""Which member owns what. Pure: the same membership gives the same answer in every process, on every machine.

`lookup` is what members use; `epochs` makes and compares memberships; `slots` computes a table and is the one user of numpy,
which only those who compute tables need; `rendezvous` is the order of preference behind all of it.
"""
