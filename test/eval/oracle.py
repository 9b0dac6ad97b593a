"""
Makes the oracle-*.json.gz fixtures: runs lm-evaluation-harness 0.4.13 with log-likelihoods that are a hash of the token ids
(the same recipe as HashScorer in helpers/fake-scorer.ts) and writes its results and samples. Not part of any test run.

    pip install lm_eval==0.4.13 datasets==5.2.0 torch
    python oracle.py DATA OUT.json.gz toy|toy-bos|TOKENIZER_FOLDER TASKS LIMIT SHOTS MAX_LENGTH BOOTSTRAP

    cd test/eval; ALL=copa,hellaswag,piqa,arc_easy,arc_challenge,winogrande,openbookqa,boolq,lambada_openai,lambada_standard
    python oracle.py fixtures/data fixtures/oracle-bos-0shot.json.gz toy-bos $ALL,wikitext 0 0 2048 100000
    python oracle.py fixtures/data fixtures/oracle-nobos-3shot.json.gz toy $ALL 6 3 300 2000
    python oracle.py fixtures/data fixtures/oracle-mmlu-2shot.json.gz toy-bos mmlu_anatomy,... 3 2 600 1000
    python oracle.py fixtures/data fixtures/oracle-rolling-short.json.gz toy-bos wikitext 0 0 50 1000
"""
import sys, os, json, hashlib, gzip, struct
os.environ["HF_DATASETS_OFFLINE"]="1"; os.environ["HF_HUB_OFFLINE"]="1"; os.environ["DISABLE_MULTIPROC"]="1"
import datasets
DATA=sys.argv[1]; OUT=sys.argv[2]; TOK=sys.argv[3]; TASKS=sys.argv[4].split(','); LIMIT=int(sys.argv[5]); SHOTS=int(sys.argv[6]); MAXLEN=int(sys.argv[7]); BOOT=int(sys.argv[8]) if len(sys.argv)>8 else 1000
def rows(f): return [json.loads(l) for l in open(os.path.join(DATA,f),'rb').read().split(b'\n') if l.strip()]
def ds(rs):
    # Columns in order of first appearance, null where absent: what load_dataset("json") makes of a file.
    columns = list(dict.fromkeys(k for r in rs for k in r))
    return datasets.Dataset.from_dict({k: [r.get(k) for r in rs] for k in columns})
def fake_load(path=None,name=None,**kw):
    if path=='cais/mmlu':
        return datasets.DatasetDict({s: ds([r for r in rows(f'mmlu/{s}.jsonl') if r['subject']==name]) for s in ('test','dev')})
    simple={'Rowan/hellaswag':('hellaswag_validation.jsonl','hellaswag_train.jsonl'),'baber/piqa':('piqa_validation.jsonl','piqa_train.jsonl'),'allenai/winogrande':('winogrande_dev.jsonl','winogrande_train.jsonl')}
    if path in simple: v,t=simple[path]; return datasets.DatasetDict({'validation':ds(rows(v)),'train':ds(rows(t))})
    if path=='aps/super_glue': return datasets.DatasetDict({'validation':ds(rows('boolq_first8.jsonl' if name=='boolq' else f'{name}_validation.jsonl')),'train':ds(rows(f'{name}_train.jsonl'))})
    if path=='allenai/ai2_arc':
        n=name.lower().replace('-','_'); return datasets.DatasetDict({'test':ds(rows(f'{n}_test.jsonl')),'train':ds(rows(f'{n}_train.jsonl')),'validation':ds(rows(f'{n}_test.jsonl'))})
    if path=='allenai/openbookqa': return datasets.DatasetDict({'test':ds(rows('openbookqa_test.jsonl')),'train':ds(rows('openbookqa_train.jsonl')),'validation':ds(rows('openbookqa_test.jsonl'))})
    if path=='EleutherAI/lambada_openai': return datasets.DatasetDict({'test':ds(rows('lambada_openai_test.jsonl'))})
    if path=='cimec/lambada': return datasets.DatasetDict({'test':ds(rows('lambada_standard_test.jsonl')),'validation':ds(rows('lambada_standard_validation.jsonl'))})
    if path=='EleutherAI/wikitext_document_level': 
        d=ds(rows('wikitext_test.jsonl')); return datasets.DatasetDict({'test':d,'train':d,'validation':d})
    raise SystemExit(f'no data for {path} {name}')
datasets.load_dataset=fake_load
import lm_eval
import lm_eval.tasks
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix,_add_special_kwargs
from lm_eval import utils
class Toy:
    """One token per UTF-16 unit plus 3; 1 is BOS, 2 is EOS."""
    def __init__(self,adds): self.adds=adds; self.bos_token_id=1; self.eos_token_id=2
    def encode(self,s,add_special_tokens=True):
        b=s.encode('utf-16-le'); ids=[x+3 for x in struct.unpack('<%dH'%(len(b)//2),b)]
        return ([1] if self.adds and add_special_tokens else [])+ids
    def decode(self,i): return '<s>' if i==1 else '</s>'
class Hash(TemplateLM):
    def __init__(self):
        super().__init__()
        if TOK.startswith('toy'): self.tokenizer=Toy(TOK=='toy-bos')
        else:
            from transformers import AutoTokenizer
            self.tokenizer=AutoTokenizer.from_pretrained(TOK)
        self.max_length=MAXLEN; self.log=[]
        self.add_bos_token=None
    @property
    def eot_token_id(self): return self.tokenizer.eos_token_id
    @property
    def prefix_token_id(self): return self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
    def tok_encode(self,string,add_special_tokens=None,**kw):
        k=_add_special_kwargs(add_special_tokens,self.add_bos_token)
        if add_special_tokens is None and has_bos_prefix(string,self.tokenizer.decode(self.prefix_token_id)): k["add_special_tokens"]=False
        return self.tokenizer.encode(string,**k)
    def _loglikelihood_tokens(self,requests,**kw):
        out=[]
        for _,c,t in requests:
            assert len(c)>0 and len(t)>0 and len(t)<=self.max_length
            full=(c+t)[-(self.max_length+1):]; ctx=full[:len(full)-len(t)]
            h=hashlib.sha256((','.join(map(str,ctx))+'|'+','.join(map(str,t))).encode()).digest()
            out.append((-(int.from_bytes(h[:4],'big')>>10)/65536, h[4]%3==0))
        return out
    def loglikelihood_rolling(self,requests,**kw):
        res=[]
        for (s,) in [r.args for r in requests]:
            w=list(map(utils.make_disjoint_window,utils.get_rolling_token_windows(self.tok_encode(s),self.prefix_token_id,self.max_length,1)))
            res.append(sum(x[0] for x in self._loglikelihood_tokens([(None,)+x for x in w])))
        return res
    def generate_until(self,*a,**k): raise NotImplementedError
r=lm_eval.simple_evaluate(model=Hash(),tasks=TASKS,limit=LIMIT or None,num_fewshot=SHOTS or None,bootstrap_iters=BOOT)
from lm_eval.utils import handle_non_serializable, sanitize_list
samples=r.pop('samples')
keep={k:r[k] for k in ('results','groups','group_subtasks','versions','n-shot','higher_is_better','n-samples') if k in r}
keep['configs']=r['configs']
out=[]
for task,ss in samples.items():
    for s in ss:
        a={f'gen_args_{i}':{f'arg_{j}':t for j,t in enumerate(x)} for i,x in enumerate(s['arguments'])}
        s=dict(s); s['arguments']=a; s['resps']=sanitize_list(s['resps']); s['filtered_resps']=sanitize_list(s['filtered_resps']); s['target']=str(s['target']); s['task']=task
        out.append(s)
json.dump({'results':keep,'samples':out},gzip.open(OUT,'wt') if OUT.endswith('.gz') else open(OUT,'w'),default=handle_non_serializable,ensure_ascii=False)
print({k:v for k,v in keep['results'].items() if not k.startswith('mmlu_') or len(keep['results'])<12})
