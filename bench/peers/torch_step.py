# PyTorch on the CPU as a peer: the same tasks, read from the files that bench/engine.ts writes, over the same lines (bench/wire.ts).
# Run: python3 torch_step.py THREADS
import ctypes
import json
import re
import sys
import time

import torch
import torch.nn.functional as F

FIRST_STEPS, FIRST_SECONDS = 3, 10
threads = int(sys.argv[1])
torch.set_num_threads(threads)


def blas():
    """The BLAS that products really run in: what is mapped into this process, asked for its own name."""
    with open("/proc/self/maps") as maps:
        paths = sorted(set(re.findall(r"/\S*(?:blas|mkl_rt|mkl_core)\S*\.so\S*", maps.read())))
    for path in paths:
        if "openblas" in path:
            library = ctypes.CDLL(path)
            library.openblas_get_config.restype = ctypes.c_char_p
            library.openblas_get_corename.restype = ctypes.c_char_p
            return f"{library.openblas_get_config().decode().strip()}, kernels {library.openblas_get_corename().decode()}, {library.openblas_get_num_threads()} threads"
    if "mkl" in torch.__config__.show().lower().replace("mkl-dnn", ""):
        return "MKL"
    return "the reference BLAS" if paths else "unknown"


def layer_norm(w, name, x):
    return F.layer_norm(x, (x.shape[-1],), w[name + ".weight"])


def mlp(w, x):
    for i in (1, 2):
        x = F.relu(F.linear(x, w[f"fc{i}.weight"], w[f"fc{i}.bias"]))
    return F.linear(x, w["fc3.weight"], w["fc3.bias"])


def cnn(w, x):
    for i in (1, 2):
        x = F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], padding=1)
        x = F.batch_norm(x, None, None, w[f"bn{i}.weight"], w[f"bn{i}.bias"], training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])


def gpt(w, tokens, size, mask):
    batch, length = tokens.shape
    heads, width = size["heads"], size["width"]
    x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"]
    for i in range(size["layers"]):
        block = f"blocks.{i}"
        qkv = F.linear(layer_norm(w, f"{block}.ln1", x), w[f"{block}.qkv.weight"])
        q, k, v = (t.view(batch, length, heads, width // heads).transpose(1, 2) for t in qkv.split(width, dim=2))
        scores = (q @ k.transpose(-2, -1)) * (width // heads) ** -0.5
        mixed = F.softmax(scores.masked_fill(mask, float("-inf")), dim=-1) @ v
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, length, width), w[f"{block}.proj.weight"])
        wide = F.gelu(F.linear(layer_norm(w, f"{block}.ln2", x), w[f"{block}.fc.weight"]))
        x = x + F.linear(wide, w[f"{block}.fc_out.weight"])
    return F.linear(layer_norm(w, "ln_f", x), w["wte.weight"])


def trainer(path):
    with open(path + ".json") as file:
        task = json.load(file)
    with open(path + ".bin", "rb") as file:
        raw = bytearray(file.read())

    def read(entry, dtype):
        count = 1
        for d in entry["shape"]:
            count *= d
        return torch.frombuffer(raw, dtype=dtype, count=count, offset=entry["offset"]).view(entry["shape"])

    w = {e["name"]: read(e, torch.float32).clone().requires_grad_() for e in task["weights"]}
    labels = read(task["labels"], torch.uint8).long()
    images = read(task["images"], torch.float32) if "images" in task else None
    a = task["adamw"]
    optimizer = torch.optim.AdamW(w.values(), lr=a["lr"], betas=tuple(a["betas"]), eps=a["eps"], weight_decay=a["weightDecay"])
    size = task.get("gpt")
    mask = torch.triu(torch.ones(size["length"], size["length"], dtype=torch.bool), 1) if size else None
    batch, count = task["batch"], task["count"]
    at = [0]

    def step():
        first = (at[0] * batch) % count
        at[0] += 1
        now = labels[first : first + batch]
        if size:
            logits = gpt(w, now[:, :-1], size, mask)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), now[:, 1:].reshape(-1))
        else:
            loss = F.cross_entropy((mlp if task["name"] == "mlp" else cnn)(w, images[first : first + batch]), now)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def timed(call, for_ms):
    times = []
    until = time.perf_counter() + for_ms / 1000
    while True:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
        if time.perf_counter() >= until:
            return times


current = None


def answer(request):
    global current
    do = request["do"]
    if do == "about":
        torch.mm(torch.zeros(64, 64), torch.zeros(64, 64))
        return {"version": torch.__version__, "blas": blas(), "threads": torch.get_num_threads()}
    if do == "load":
        current = trainer(f"{request['dir']}/{request['task']}")
        losses, until = [], time.perf_counter() + FIRST_SECONDS
        while not losses or (len(losses) < FIRST_STEPS and time.perf_counter() < until):
            losses.append(current())
        return {"losses": losses}
    if do == "step":
        return {"ms": timed(current, request["forMs"])}
    if do == "product":
        a, b = torch.randn(request["m"], request["k"]), torch.randn(request["k"], request["n"])
        with torch.no_grad():
            timed(lambda: torch.mm(a, b), request["forMs"] / 4)
            return {"ms": timed(lambda: torch.mm(a, b), request["forMs"])}
    raise ValueError(f"{do}: no such rows here")


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": str(error)}
    print(json.dumps(reply), flush=True)
