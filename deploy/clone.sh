#!/bin/sh
# Clones a repository into each folder that is empty, and names the remote of DVC there.   clone.sh REPOSITORY REMOTE FOLDER...
set -eu
repository=$1 remote=$2
shift 2
for folder in "$@"; do
    [ -e "$folder/.git" ] || git clone --quiet "$repository" "$folder"
    (cd "$folder" && dvc remote add --local --default --force --quiet store "$remote")
    mkdir -p "$folder/data/incoming"
done
