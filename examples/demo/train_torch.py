"""The same reader as a PyTorch job has it: a Dataset that opens files, and a DataLoader with workers.

Knows nothing of Forebay either. Takes the arguments of `train`. Images are not decoded: that costs the same wherever the
bytes come from, and would hide what is measured.
"""

import torch
from examples.demo.train import BATCH, Pass, Sample, Take, read_file, run
from torch.utils.data import DataLoader, Dataset


class Files(Dataset[Sample]):
    """Every file below a folder."""

    def __init__(self, what: Pass) -> None:
        self.folder = what.place
        self.names = what.order()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return read_file(self.folder, self.names[index])


def epoch(what: Pass, take: Take) -> None:
    order = torch.Generator().manual_seed(what.seed)
    loader = DataLoader(Files(what), BATCH, shuffle=True, generator=order, num_workers=what.width, collate_fn=list)
    for batch in loader:
        take(batch)


if __name__ == "__main__":
    run(epoch)
