"""What is in use on whole GPUs."""

from types import SimpleNamespace

import pytest

from ansambl.hardware.probes.gpu_use import used_on_gpus

GIB = 2**30


class Library:
    """Stands for pynvml with one GPU for each entry of `used`, in bytes; an exception is raised."""

    NVMLError = RuntimeError

    def __init__(self, *used):
        self.used = used

    def nvmlInit(self):  # noqa: N802 - NVML's own name
        pass

    def nvmlShutdown(self):  # noqa: N802 - NVML's own name
        pass

    def nvmlDeviceGetCount(self):  # noqa: N802 - NVML's own name
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 - NVML's own name
        return index

    def nvmlDeviceGetMemoryInfo(self, index):  # noqa: N802 - NVML's own name
        if isinstance(self.used[index], Exception):
            raise self.used[index]
        return SimpleNamespace(total=80 * GIB, used=self.used[index], free=0)


@pytest.mark.parametrize(
    ("used", "indexes", "told"),
    [
        ((5 * GIB, 7 * GIB), (0,), 5 * GIB),
        ((5 * GIB, 7 * GIB), (1, 0), 12 * GIB),
        ((5 * GIB,), (0, 1), None),
        ((5 * GIB, RuntimeError("lost")), (0, 1), None),
        ((5 * GIB,), (), None),
        ((), (0,), None),
    ],
)
def test_what_is_in_use_is_told_for_all_of_them_or_not_at_all(tmp_path, used, indexes, told):
    assert used_on_gpus("nvidia", indexes, sysfs=tmp_path, share=tmp_path, library=Library(*used)) == told


def test_other_vendors_are_told_by_the_files_of_the_kernel(tmp_path):
    assert used_on_gpus("amd", (0,), sysfs=tmp_path, share=tmp_path) is None
