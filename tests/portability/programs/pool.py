"""A program that hands work to other processes: pool.py START_METHOD URL TOKEN KEY. The file is
copied beside it."""

import json
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import jamsocket_lite
import user


def work(arguments):
    return user.use(jamsocket_lite, *arguments)


def connect(url, token, key):
    return jamsocket_lite.Jamsocket("acme", "whiteboard", token, api_url=url).connect({"key": key})


def wait_for_its_end(url, token, connected):
    """Ends the backend, then waits for it in vain."""
    client = jamsocket_lite.Jamsocket("acme", "whiteboard", token, api_url=url)
    client.wait_until_ready(connected, timeout=30)
    client.terminate(connected, hard=True)
    for state in client.status_stream(connected, timeout=30):
        pass  # until it has ended: what is asked before may still be told `ready`
    client.wait_until_ready(connected, timeout=30)


def alone(queue, arguments):
    queue.put(work(arguments))


def main(method, url, token, key):
    context = multiprocessing.get_context(method)
    # 3.7's executor takes a context, but makes its queues before it has processes: one is enough.
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        connected = pool.submit(connect, url, token, key).result()
        error = pool.submit(wait_for_its_end, url, token, connected).exception()
        refused = pool.submit(connect, url, "wrong", key).exception()
        invalid = pool.submit(connect, url, token, "").exception()
        done = pool.submit(work, (url, token, key + "/pool")).result()
    assert pickle.loads(pickle.dumps(connected)) == connected
    queue = context.SimpleQueue()
    process = context.Process(target=alone, args=(queue, (url, token, key + "/process")))
    process.start()
    other = queue.get()
    process.join()
    print(json.dumps({
        "pool": done, "process": other, "exit": process.exitcode,
        "terminated": [type(error).__name__, error.state.status in ("hard-terminating",
                                                                    "terminated")],
        "refused": [type(refused).__name__, refused.status], "invalid": [type(invalid).__name__,
                                                                         invalid.path]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
