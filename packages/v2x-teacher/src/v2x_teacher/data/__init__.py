"""From files to samples.

    open_recording   any of the three layouts -> Recording
      cooperative/     V2X-Seq-SPD and DAIR-V2X-C; `splits` reads their split files
      flat             the request's own folder
      documents        JSON, ids and paths from outside
    recording        what a data set is once it has been read: poses, pairs, problems
    labels           Recording -> Samples: trajectories by time (or by rows), and the gate that refuses impossible ones
    kinematics       recent motion, and the priors made of it
    check_data/      the verb that lists every problem
    make_data/       the verb that writes data

`make_data` shares no code with the readers, so that each can prove the other.
"""
