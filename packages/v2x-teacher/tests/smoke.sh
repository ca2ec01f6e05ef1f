# What a freshly installed v2x-teacher must be able to do, in an empty folder and about a minute.
# tools/release runs it with nothing but the wheels installed. The numbers are the smallest that make sense.
v2x-teacher make-data --num_sequences 9 --seconds 7 --width 64
v2x-teacher check-data
train --epochs 2 --backbone.height 32 --backbone.width 64
evaluate --num_bootstrap 10
v2x-teacher predict --num_drawings 2
v2x-teacher export
