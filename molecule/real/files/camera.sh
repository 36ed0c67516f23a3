#!/bin/sh
# Takes photos and a video: $1 the folder to make, $2 a word that makes them different from those of another day.
set -eu
mkdir -p "$1"
cd "$1"
seed=$(($(printf %s "$2" | cksum | cut -d ' ' -f 1) % 1000000))
picture() { ffmpeg -v error -y -f lavfi -i "$1" -frames:v 1 "$2"; }
# Noise does not compress: a photo of the size that today's telephones make.
picture "gradients=size=1600x1200:seed=$seed" oslo.jpg
picture "color=gray:size=2800x2100,noise=alls=100:all_seed=$seed" noise.png
picture "mandelbrot=size=900x600:start_scale=1.$seed" set.png
picture "gradients=size=1200x900:type=radial:seed=$((seed + 1))" dropped.png
ffmpeg -v error -y -f lavfi -i "gradients=size=640x360:rate=25:seed=$seed" -t 3 -c:v libx264 -pix_fmt yuv420p film.mp4
exiftool -q -overwrite_original -Make=Maker -Model=Model -DateTimeOriginal='2025:07:01 12:30:00' \
    -GPSLatitude=59.9139 -GPSLatitudeRef=N -GPSLongitude=10.7522 -GPSLongitudeRef=E oslo.jpg
