"""Makes the buckets of the S3 store that are missing: `python infra/buckets.py mlflow dvc`.

The store and its keys come from the environment: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

import sys

import boto3


def main() -> None:
    store = boto3.client("s3", region_name="us-east-1")
    present = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in sys.argv[1:]:
        if name not in present:
            store.create_bucket(Bucket=name)
            print(f"Made bucket {name}.")


if __name__ == "__main__":
    main()
