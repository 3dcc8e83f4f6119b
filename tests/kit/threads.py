"""Jobs side by side, so that their waiting costs its time once."""

import threading
import traceback
from typing import Any, Callable, Dict, Mapping, TypeVar

T = TypeVar("T")


def together(jobs: Mapping[str, Callable[[], T]], width: int = 12) -> Dict[str, T]:
    """Runs independent jobs in threads; what fails is named."""
    results, broken = {}, {}  # type: Dict[str, T], Dict[str, BaseException]
    waiting = list(jobs.items())
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name, job = waiting.pop(0)
            try:
                result = job()
            except BaseException as error:  # to be raised in the thread that waits for all
                broken[name] = error
            else:
                results[name] = result

    threads = [threading.Thread(target=work) for _ in range(min(width, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken, "\n\n".join("--- %s\n%s" % (name, "".join(
        traceback.format_exception(type(error), error, error.__traceback__)))
        for name, error in broken.items())
    return results
