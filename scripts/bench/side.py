"""What the Python sides of the benchmarks share: answers line by line, times, memory."""
import json
import resource
import statistics
import sys
import time


def serve(answer):
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def time_of(seconds, work):
    """The median time of one run of `work`, repeated for at least so many seconds."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def peak_memory():
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
            return 1024 * int(line.split()[1])
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
