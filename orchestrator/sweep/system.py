"""How busy a machine is: MLflow's system metrics, under MLflow's names."""

from __future__ import annotations


def system_metrics() -> dict[str, float]:
    """Since the last call in this process (the first says 0): the processor's utilisation in percent; and the memory
    in use now, of the machine, of this process and of the GPU that torch uses, in MB and percent."""
    import psutil

    memory = psutil.virtual_memory()
    found = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_megabytes": psutil.Process().memory_info().rss / 1e6,
    }
    return found | _gpu()


def _gpu() -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():  # a trial that trains on the processor
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "system/gpu_0_memory_usage_megabytes": (total - free) / 1e6,
        "system/gpu_0_memory_usage_percentage": 100 * (total - free) / total,
    }
