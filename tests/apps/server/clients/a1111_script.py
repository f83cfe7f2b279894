"""A program for A1111's API with sd-webui-animatediff, in the form that their guide to the API shows.

    python a1111_script.py http://127.0.0.1:8188 dict|list20|list25 [picture]

With a picture it calls img2img, without it txt2img; it writes the answer's files and prints ``info``.
It knows nothing of this package.
"""

import base64
import json
import sys
from pathlib import Path

import httpx as requests

ANIMATEDIFF = {
    "model": "mm_sd_v15_v2.ckpt",  # Motion module
    "enable": True,  # Enable AnimateDiff
    "video_length": 24,  # Number of frames
    "fps": 12,  # FPS
    "loop_number": 0,  # Display loop number
    "closed_loop": "A",  # Closed loop
    "batch_size": 16,  # Context batch size
    "stride": 2,  # Stride
    "overlap": 4,  # Overlap
    "format": ["GIF", "MP4"],  # Save format
    "interp": "FILM",  # Frame interpolation
    "interp_x": 3,  # Interp X
    "video_source": None,  # Video source
    "video_path": "",  # Video path
    "mask_path": "",  # Mask path
    "freeinit_enable": True,
    "freeinit_filter": "butterworth",
    "freeinit_ds": 0.25,
    "freeinit_dt": 0.25,
    "freeinit_iters": 2,
    "latent_power": 1.5,  # Latent power
    "latent_scale": 24,  # Latent scale
    "last_frame": None,  # Optional last frame
    "latent_power_last": 1,  # Optional latent power for last frame
    "latent_scale_last": 32,  # Optional latent scale for last frame
}


class AnimateDiffRequest:
    def __init__(self, url: str, kind: str, picture: str | None) -> None:
        self.url = f"{url}/sdapi/v1/{'img2img' if picture else 'txt2img'}"
        values = list(ANIMATEDIFF.values())
        args = {
            "dict": [{**ANIMATEDIFF, "request_id": "my-request"}],
            "list20": values[:20],
            "list25": values,
        }[kind]
        self.body = {
            "prompt": "1girl, sitting on the beach",
            "negative_prompt": "worst quality",
            "batch_size": 1,
            "n_iter": 1,
            "steps": 20,
            "seed": 44,
            "cfg_scale": 7,
            "width": 512,
            "height": 768,
            "restore_faces": False,
            "sampler_name": "DPM++ 2M",
            "scheduler": "Karras",
            "sampler_index": "Euler",
            "override_settings": {"CLIP_stop_at_last_layers": 2},
            "override_settings_restore_afterwards": True,
            "save_images": True,
            "alwayson_scripts": {"AnimateDiff": {"args": args}},
        }
        if picture:
            encoded = base64.b64encode(Path(picture).read_bytes()).decode("utf-8")
            self.body |= {"init_images": [encoded], "denoising_strength": 0.6, "resize_mode": 0}

    def send_request(self) -> dict:
        response = requests.post(url=self.url, json=self.body, timeout=120)
        response.raise_for_status()
        return response.json()


if __name__ == "__main__":
    url, kind, picture = [*sys.argv[1:], None][:3]
    names = [each["title"] for each in requests.get(f"{url}/sdapi/v1/sd-models").json()]
    assert names, "the web interface lists no model"
    assert requests.get(f"{url}/sdapi/v1/samplers").json()
    answer = AnimateDiffRequest(url, kind, picture).send_request()
    for number, image in enumerate(answer["images"]):
        Path(f"{kind}-{number}").write_bytes(base64.b64decode(image))
    progress = requests.get(f"{url}/sdapi/v1/progress").json()
    assert progress["progress"] == 0.0, "nothing runs any more"
    print(json.dumps({"info": json.loads(answer["info"]), "files": len(answer["images"])}))
