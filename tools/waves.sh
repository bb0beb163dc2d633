#!/usr/bin/env bash
# Makes the sample video of the embedded provider: three seconds of waves at night, 640 by 360,
# without sound. Needs ffmpeg (apt-get install ffmpeg). Prints the size of the file.
set -euo pipefail
cd "$(dirname "$0")/.."
video=dev/src/provider/waves.mp4

# Each wave makes whole periods in three seconds, so that the video loops without a jump.
turn='2*PI*T/3'
far="gt(Y,H*0.52+4*sin(X/38+$turn)+2*sin(X/17-2*$turn))"
middle="gt(Y,H*0.64+8*sin(X/61-$turn)+3*sin(X/23+2*$turn))"
near="gt(Y,H*0.80+13*sin(X/97+2*$turn)+5*sin(X/41-$turn))"
moon='lt(hypot(X-W*0.72,Y-H*0.22),26)'
glade="gt(Y,H*0.53)*lt(abs(X-W*0.72+6*sin(Y/5+2*$turn)),10+Y/14)*gt(sin(Y/3-2*$turn),0.2)"
layer() { # sky at the top, its increase towards the horizon, far, middle and near waves, moon
  echo "if($moon,$6,if($near,$5+30*$glade,if($middle,$4+55*$glade,if($far,$3+70*$glade,$1+$2*Y/H))))"
}

ffmpeg -loglevel error -y -f lavfi -i "color=black:size=640x360:rate=24:duration=3" \
  -vf "format=gbrp,geq=r='$(layer 18 90 44 26 10 250)':g='$(layer 22 70 62 40 18 240)':b='$(layer 58 80 104 74 38 214)',format=yuv420p" \
  -c:v libx264 -preset veryslow -crf 30 -movflags +faststart \
  -map_metadata -1 -fflags +bitexact -flags:v +bitexact "$video"
stat --format '%n: %s bytes' "$video"
