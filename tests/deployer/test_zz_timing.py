import time
import numpy as np
from services.deployer.jobs import routing as r
from services.deployer.router import envoy as e
from tests.deployer.conftest import *
from tests.deployer.fakes import sample_of
def timed(cls,name,out):
    orig=getattr(cls,name)
    async def w(self,*a,**k):
        t=time.time()
        try: return await orig(self,*a,**k)
        finally: out.append((name,t%1000,(time.time()-t)*1000))
    setattr(cls,name,w)
async def test_t(deployer):
    out=[]
    state = await deployer.deployed(1, 2)
    for n in ("round","_routing","_take_effect"): timed(r.RoutingJob,n,out)
    for n in ("_add_clusters","_can_switch","_write_routes","_until_effective","prune","_replace"): timed(e.EnvoyRouter,n,out)
    from services.deployer.jobs import decisions as d
    timed(d.DecisionsJob,"_settle",out)
    x = np.linspace(0, 1, 400)
    deployer.monitor.given = sample_of(current=(1 - x).tolist(), outcomes=(x > 0.5).astype(float).tolist())
    await deployer.signal(2, state.position.epoch)
    await deployer.serves(1)
    dec=await deployer.decision()
    t0=dec.decided_at.ToNanoseconds()/1e9%1000
    for n,t,dur in sorted(out,key=lambda x:x[1]): print(f"{n:20s} {(t-t0)*1000:8.1f} {dur:8.1f}")
    print("effective", (dec.effective_at.ToNanoseconds()/1e9%1000-t0)*1000)
